// The inflate side of zlib alone is used: npz members (Formats/ZipDirectory.swift).
#include <zlib.h>
