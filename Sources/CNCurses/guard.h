// The terminal comes back on every way out: quit, exit, trap, and every signal that ends or stops
// the program.
#pragma once

/// Remembers the terminal's modes, before ncurses changes them.
void guard_prepare(int mouse);
/// Installs the handlers. What is ignored stays ignored.
void guard_arm(void);
/// From now on there is a screen to give back.
void guard_taken(void);
/// Whether there is a screen to give back.
int guard_holds(void);
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
/// Returns 0 when this process has the terminal, or has none. Until then it stops as every program
/// does that wants to draw in the background; -1 where stopping does not help.
int guard_front(void);
/// The screen is this thread's from now on, and signals come to it.
void guard_own(void);
/// Between 1 and 0 somebody waits for the terminal: when nobody reads it for a second and a key
/// waits, what is on its way is thrown away.
void guard_watch(int on);
/// As `guard_watch`, on the way out, where nothing that is still on its way matters.
void guard_hurry(int on);
/// Whether something was thrown away since the last call.
int guard_lost(void);
