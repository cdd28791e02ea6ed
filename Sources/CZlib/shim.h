// Only inflate and the CRC-32 of zlib are used: npz members (Formats/ZipDirectory.swift).
#include <zlib.h>
