//! What keys do.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::list::VisibleUsers;
use super::state::TopState;
use crate::domain::time::Millis;
use crate::exit::Code;

/// What is on the screen, besides the header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ViewMode {
    /// The table of users.
    #[default]
    Table,
    /// The table, while the filter is typed.
    Filter,
    /// What happened to one user, from this many rows before the latest.
    History {
        /// The user: an index into the users of the state.
        user: usize,
        /// How many rows are scrolled past.
        offset: usize,
    },
    /// The keys.
    Help,
}

/// What the person at the keyboard has chosen.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    /// Which users are listed.
    pub list: VisibleUsers,
    /// What is shown.
    pub mode: ViewMode,
    /// Whether the display stands still.
    pub is_paused: bool,
    /// A message in the last line, until the next key.
    pub message: Option<String>,
}

/// What a key asks for that is more than a choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// End with this code.
    Quit(Code),
    /// Stop the process, as the shell's `fg` expects it.
    Suspend,
    /// Draw everything again.
    Redraw,
    /// Stop the display, or let it go on.
    TogglePause,
    /// Put this text on the clipboard.
    Copy(String),
}

impl Choices {
    /// Handles a key.
    pub fn press(&mut self, key: KeyEvent, state: &TopState, now: Millis) -> Option<Action> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        self.message = None;
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            match key.code {
                KeyCode::Char('c') => return Some(Action::Quit(Code::Interrupted)),
                KeyCode::Char('z') => return Some(Action::Suspend),
                KeyCode::Char('l') => return Some(Action::Redraw),
                KeyCode::Char('u') if self.mode == ViewMode::Filter => self.list.filter.clear(),
                _ => return None,
            }
            self.list.refresh(state, now);
            return None;
        }
        let action = match self.mode {
            ViewMode::Table => self.press_in_table(key.code, state),
            ViewMode::Filter => self.press_in_filter(key.code),
            ViewMode::History { user, offset } => {
                self.press_in_history(key.code, user, offset, state)
            }
            ViewMode::Help => {
                self.mode = ViewMode::Table;
                None
            }
        };
        self.list.refresh(state, now);
        action
    }

    fn press_in_table(&mut self, code: KeyCode, state: &TopState) -> Option<Action> {
        match code {
            KeyCode::Char('q') => return Some(Action::Quit(Code::Ok)),
            KeyCode::Char('/') => self.mode = ViewMode::Filter,
            KeyCode::Char('s') => self.list.sort = self.list.sort.next(),
            KeyCode::Char('o') => self.list.is_online_only = !self.list.is_online_only,
            KeyCode::Char(' ') => return Some(Action::TogglePause),
            KeyCode::Char('?') => self.mode = ViewMode::Help,
            KeyCode::Char('c') => return self.copy(self.list.selected(), state),
            KeyCode::Enter => {
                if let Some(user) = self.list.selected() {
                    self.mode = ViewMode::History { user, offset: 0 };
                }
            }
            KeyCode::Esc => self.list.filter.clear(),
            KeyCode::Up | KeyCode::Char('k') => self.list.select(-1),
            KeyCode::Down | KeyCode::Char('j') => self.list.select(1),
            KeyCode::PageUp => self.list.select_page(-1),
            KeyCode::PageDown => self.list.select_page(1),
            KeyCode::Home | KeyCode::Char('g') => self.list.select(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.list.select(isize::MAX),
            _ => {}
        }
        None
    }

    fn press_in_filter(&mut self, code: KeyCode) -> Option<Action> {
        match code {
            KeyCode::Char(c) => self.list.filter.push(c),
            KeyCode::Backspace => {
                self.list.filter.pop();
            }
            KeyCode::Enter => self.mode = ViewMode::Table,
            KeyCode::Esc => {
                self.list.filter.clear();
                self.mode = ViewMode::Table;
            }
            KeyCode::Up => self.list.select(-1),
            KeyCode::Down => self.list.select(1),
            _ => {}
        }
        None
    }

    fn press_in_history(
        &mut self,
        code: KeyCode,
        user: usize,
        offset: usize,
        state: &TopState,
    ) -> Option<Action> {
        let scroll = |rows: isize| {
            let last = state.users()[user]
                .history
                .entries()
                .count()
                .saturating_sub(1);
            let offset = offset.saturating_add_signed(rows).min(last);
            ViewMode::History { user, offset }
        };
        match code {
            KeyCode::Char('q') => return Some(Action::Quit(Code::Ok)),
            KeyCode::Char('c') => return self.copy(Some(user), state),
            KeyCode::Char(' ') => return Some(Action::TogglePause),
            KeyCode::Char('?') => self.mode = ViewMode::Help,
            KeyCode::Esc | KeyCode::Enter | KeyCode::Backspace => self.mode = ViewMode::Table,
            KeyCode::Up | KeyCode::Char('k') => self.mode = scroll(-1),
            KeyCode::Down | KeyCode::Char('j') => self.mode = scroll(1),
            KeyCode::PageUp => self.mode = scroll(-10),
            KeyCode::PageDown => self.mode = scroll(10),
            KeyCode::Home => self.mode = scroll(isize::MIN),
            KeyCode::End => self.mode = scroll(isize::MAX),
            _ => {}
        }
        None
    }

    fn copy(&mut self, user: Option<usize>, state: &TopState) -> Option<Action> {
        let id = state.users().get(user?)?.id.to_string();
        self.message = Some(format!("copied {id}"));
        Some(Action::Copy(id))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{apply, at};
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_choose_filter_order_and_page() {
        let mut state = TopState::default();
        for id in ["amy", "bob"] {
            let user = json!({"id": id, "online": true});
            apply(
                &mut state,
                &[
                    json!({"type": "presence.snapshot", "received_at": at(0), "source": "query", "user": user}),
                ],
            );
        }
        let mut choices = Choices::default();
        choices.list.set_height(10);
        let mut press = |code: KeyCode| {
            let action = choices.press(code.into(), &state, 0);
            (action, choices.mode, choices.list.filter.clone())
        };
        let typed = |code| KeyCode::Char(code);
        for key in ['/', 'b', 'q', '?'] {
            assert_eq!(press(typed(key)).0, None);
        }
        assert_eq!(press(KeyCode::Backspace).2, "bq");
        let _ = press(KeyCode::Backspace);
        assert_eq!(
            press(KeyCode::Enter),
            (None, ViewMode::Table, "b".to_owned())
        );
        assert_eq!(press(typed('c')).0, Some(Action::Copy("bob".to_owned())));
        let history = ViewMode::History { user: 1, offset: 0 };
        assert_eq!(press(KeyCode::Enter).1, history);
        assert_eq!(press(KeyCode::Down).1, history, "there is one entry");
        assert_eq!(press(typed('c')).0, Some(Action::Copy("bob".to_owned())));
        assert_eq!(press(KeyCode::Esc), (None, ViewMode::Table, "b".to_owned()));
        assert_eq!(press(KeyCode::Esc), (None, ViewMode::Table, String::new()));
        assert_eq!(press(typed('?')).1, ViewMode::Help);
        assert_eq!(press(typed('q')), (None, ViewMode::Table, String::new()));
        assert_eq!(press(typed(' ')).0, Some(Action::TogglePause));
        assert_eq!(press(typed('q')).0, Some(Action::Quit(Code::Ok)));
        let control = |c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL);
        let mut press = |c| choices.press(control(c), &state, 0);
        assert_eq!(press('c'), Some(Action::Quit(Code::Interrupted)));
        assert_eq!(press('z'), Some(Action::Suspend));
        assert_eq!(press('q'), None);
    }
}
