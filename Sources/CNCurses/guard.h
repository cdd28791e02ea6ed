// The terminal comes back on every way out: quit, exit, trap, and every signal that ends or stops the program.
#pragma once

/// Remembers the terminal's modes, before ncurses changes them.
void guard_prepare(int mouse);
/// Installs the handlers.
void guard_arm(void);
/// From now on there is a screen to give back.
void guard_taken(void);
void guard_disarm(void);
void guard_mouse(int on);
/// The descriptor that signals and cn_wake write to, and what arrived there as CN_* bits.
int guard_pipe(void);
int guard_drain(void);
/// Stops the process group as Ctrl-Z in a shell would; returns when it continues.
void guard_stop_group(void);
