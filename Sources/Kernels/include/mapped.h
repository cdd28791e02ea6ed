// Mapped files that another program cuts short while they are read: the system ends whoever touches
// a page that the file no longer has, by SIGBUS. Here such pages become zeros, and the mapping
// remembers it.
#ifndef ATTNSCOPE_MAPPED_H
#define ATTNSCOPE_MAPPED_H
#include <stddef.h>
#include <stdint.h>

/// Takes note of a mapping that is only read; a number for it, or -1 when there are too many.
int32_t as_mapping_add(const void *base, size_t bytes);
/// Forgets a mapping, before it is unmapped.
void as_mapping_remove(int32_t number);
/// Whether part of it was missing when it was read: 1 or 0.
int32_t as_mapping_is_cut(int32_t number);
/// How often something was missing so far, in all mappings: the same number, nothing new.
int32_t as_mapping_cuts(void);
/// Handles SIGBUS from now on, before whoever handled it until now: what lies in no mapping is
/// theirs. To be called again when somebody else has installed a handler of his own.
void as_mapping_watch(void);
#endif
