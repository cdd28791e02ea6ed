// The terminal comes back on every way out: quit, exit, trap, and every signal that ends or stops
// the program.
#pragma once

/// Remembers the terminal's modes, before ncurses changes them.
void guard_prepare(int mouse);
/// Installs the handlers.
void guard_arm(void);
/// From now on there is a screen to give back.
void guard_taken(void);
/// Gives the signals back to whoever had them; there is no screen any more.
void guard_disarm(void);
/// Turns marks around pastes on or off, and reports of the mouse when they were asked for at the
/// start.
void guard_reports(int on);
/// The descriptor that signals and cn_wake write to; -1 before guard_prepare.
int guard_pipe(void);
/// Empties the pipe and says what arrived there as CN_* bits. It never blocks.
int guard_drain(void);
/// Stops the process group as Ctrl-Z in a shell would; returns when it continues.
void guard_stop_group(void);
