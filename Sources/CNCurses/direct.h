// A description of a terminal with direct colours, made of the one that it has.
#pragma once

/// The name that the description is made under.
#define DIRECT_NAME "attnscope-direct"

// It is made before main and while nothing else runs, since ncurses finds it in the environment
// alone (TERMINFO, "hex:" and a compiled entry), which must not change once there are threads. Few
// machines have xterm-direct and its kin installed, and none has them for every terminal.

/// The terminal whose description it was made of: the one that TERM names, or xterm-256color where
/// that one is not known. NULL when it was not made.
const char *direct_base(void);
/// Where the user's own TERMINFO is a description and no folder, the environment holds that one:
/// with 1 it holds ours, until 0. For one call of newterm.
void direct_show(int ours);
