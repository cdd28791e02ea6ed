// Keys, pastes, mouse reports and answers of the terminal, out of the bytes that ncurses reads.
#pragma once

/// Tells ncurses the sequences that it does not know of itself. Needs a screen.
void keys_define(void);
/// Before the shell has the terminal: waits a moment for what the terminal still has to say, which
/// would be typed there.
void keys_await_answer(void);
