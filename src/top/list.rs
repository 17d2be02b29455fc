//! Which users are listed, in which order, and which of them is selected.

use super::history::OnlineState;
use super::state::{CHANGES_SPAN, TopState, TrackedUser};
use crate::domain::time::Millis;

/// The order of the list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ListOrder {
    /// Users who are online first, then by name.
    #[default]
    Online,
    /// By name.
    Name,
    /// Users with the most changes in the last ten minutes first.
    Changes,
    /// Users whose state changed last first.
    Recent,
}

impl ListOrder {
    /// The name as it is shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Name => "name",
            Self::Changes => "changes",
            Self::Recent => "recent",
        }
    }

    /// The order that `s` switches to.
    #[must_use]
    pub const fn next(self) -> Self {
        match self {
            Self::Online => Self::Name,
            Self::Name => Self::Changes,
            Self::Changes => Self::Recent,
            Self::Recent => Self::Online,
        }
    }
}

/// The list.
#[derive(Debug, Clone, Default)]
pub struct VisibleUsers {
    /// The order.
    pub sort: ListOrder,
    /// Whether only users who are online are listed.
    pub is_online_only: bool,
    /// Part of a name, id or status, in any case. Only users who have it are listed.
    pub filter: String,
    /// All users, sorted. It stays sorted but for what changed, which makes sorting cheap.
    order: Vec<usize>,
    /// The users who pass the filters, sorted.
    listed: Vec<usize>,
    /// The user whom the cursor keys moved to.
    selected: Option<usize>,
    /// The place in `listed` of the first visible row.
    offset: usize,
    height: usize,
}

impl VisibleUsers {
    /// Sorts and filters again.
    pub fn refresh(&mut self, state: &TopState, now: Millis) {
        let users = state.users();
        if self.order.len() > users.len() {
            self.order.clear();
        }
        self.order.extend(self.order.len()..users.len());
        match self.sort {
            ListOrder::Online => self.sort_by(users, |user| user.state),
            ListOrder::Name => self.sort_by(users, |_| ()),
            ListOrder::Changes => {
                let changes: Vec<_> = users
                    .iter()
                    .map(|user| user.history.changes_since(now - CHANGES_SPAN))
                    .collect();
                self.order.sort_by(|a, b| {
                    let by_changes = changes[*b].cmp(&changes[*a]);
                    by_changes.then_with(|| users[*a].search_text.cmp(&users[*b].search_text))
                });
            }
            ListOrder::Recent => self.sort_by(users, |user| -user.since),
        }
        let filter = self.filter.to_lowercase();
        let is_listed = |index: &usize| {
            let user = &users[*index];
            (!self.is_online_only || user.state == OnlineState::Online)
                && (filter.is_empty() || user.search_text.contains(&filter))
        };
        self.listed.clear();
        self.listed
            .extend(self.order.iter().copied().filter(is_listed));
        if self
            .selected
            .is_some_and(|selected| !self.listed.contains(&selected))
        {
            self.selected = None;
        }
        self.scroll();
    }

    fn sort_by<K: Ord>(&mut self, users: &[TrackedUser], key: impl Fn(&TrackedUser) -> K) {
        self.order.sort_by(|a, b| {
            let (a, b) = (&users[*a], &users[*b]);
            let by_key = key(a).cmp(&key(b));
            by_key.then_with(|| a.search_text.cmp(&b.search_text))
        });
    }

    /// Says how many rows are visible.
    pub fn set_height(&mut self, height: usize) {
        self.height = height;
        self.scroll();
    }

    /// Moves the selection by this many rows.
    pub fn select(&mut self, rows: isize) {
        let Some(last) = self.listed.len().checked_sub(1) else {
            return;
        };
        let place = self.selected_place().saturating_add_signed(rows);
        self.selected = Some(self.listed[place.min(last)]);
        self.scroll();
    }

    /// Moves the selection by this many screens.
    pub fn select_page(&mut self, pages: isize) {
        let rows = isize::try_from(self.height.saturating_sub(1).max(1)).unwrap_or(isize::MAX);
        self.select(rows.saturating_mul(pages));
    }

    /// The selected user: an index into the users of the state.
    pub fn selected(&self) -> Option<usize> {
        self.listed.get(self.selected_place()).copied()
    }

    /// The visible users, and whether each is selected.
    pub fn visible(&self) -> impl Iterator<Item = (usize, bool)> {
        let selected = self.selected();
        let visible = self.listed.iter().skip(self.offset).take(self.height);
        visible.map(move |index| (*index, Some(*index) == selected))
    }

    /// The places of the first visible row and of the one after the last, and how many rows there are.
    pub fn place(&self) -> (usize, usize, usize) {
        let end = (self.offset + self.height).min(self.listed.len());
        (self.offset, end, self.listed.len())
    }

    /// Until the cursor keys are used, the first row is selected, whoever is there.
    fn selected_place(&self) -> usize {
        let place = |selected| self.listed.iter().position(|index| *index == selected);
        self.selected.and_then(place).unwrap_or_default()
    }

    /// Scrolls to where the selection is visible, and no further than to the last row.
    fn scroll(&mut self) {
        let place = self.selected_place();
        let lowest = (place + 1).saturating_sub(self.height);
        let end = self.listed.len().saturating_sub(self.height);
        self.offset = self
            .offset
            .clamp(lowest, place.max(lowest))
            .min(end.max(lowest));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{apply, at};
    use super::*;
    use serde_json::json;

    fn state() -> TopState {
        let mut state = TopState::default();
        for (id, online) in [
            ("dan", true),
            ("amy", false),
            ("Cleo", true),
            ("bob", false),
        ] {
            let user = json!({"id": id, "online": online, "status": format!("of {id}")});
            apply(
                &mut state,
                &[
                    json!({"type": "presence.snapshot", "received_at": at(0), "source": "query", "user": user}),
                ],
            );
        }
        let bob = json!({"id": "bob", "online": true, "status": "of bob"});
        apply(
            &mut state,
            &[
                json!({"type": "user.presence.changed", "received_at": at(30), "source": "ws", "user": bob}),
            ],
        );
        state
    }

    fn listed(list: &mut VisibleUsers, state: &TopState, now: Millis) -> Vec<String> {
        list.refresh(state, now);
        let users = list.visible().map(|(index, is_selected)| {
            let mark = if is_selected { "*" } else { "" };
            format!("{}{mark}", state.users()[index].id)
        });
        users.collect()
    }

    #[test]
    fn users_are_sorted_and_filtered() {
        let (state, now) = (state(), 60_000);
        let mut list = VisibleUsers::default();
        list.set_height(10);
        assert_eq!(
            listed(&mut list, &state, now),
            ["bob*", "Cleo", "dan", "amy"]
        );
        list.sort = list.sort.next();
        assert_eq!(
            listed(&mut list, &state, now),
            ["amy*", "bob", "Cleo", "dan"]
        );
        list.sort = list.sort.next();
        assert_eq!(
            listed(&mut list, &state, now),
            ["bob*", "amy", "Cleo", "dan"]
        );
        let later = 30_000 + CHANGES_SPAN;
        assert_eq!(
            listed(&mut list, &state, later),
            ["amy*", "bob", "Cleo", "dan"]
        );
        list.sort = list.sort.next();
        assert_eq!(listed(&mut list, &state, now)[0], "bob*");
        list.is_online_only = true;
        list.filter = "OF C".to_owned();
        assert_eq!(listed(&mut list, &state, now), ["Cleo*"]);
        list.filter = "amy".to_owned();
        assert_eq!(listed(&mut list, &state, now), [""; 0]);
        assert_eq!(list.selected(), None);
        assert_eq!(list.sort.next(), ListOrder::Online);
    }

    #[test]
    fn the_selection_stays_on_the_user_and_visible() {
        let (state, now) = (state(), 60_000);
        let mut list = VisibleUsers::default();
        list.set_height(2);
        list.sort = ListOrder::Name;
        list.refresh(&state, now);
        list.select(2);
        assert_eq!(listed(&mut list, &state, now), ["bob", "Cleo*"]);
        list.sort = ListOrder::Online;
        assert_eq!(listed(&mut list, &state, now), ["Cleo*", "dan"]);
        list.select_page(9);
        assert_eq!(listed(&mut list, &state, now), ["dan", "amy*"]);
        list.select(-9);
        assert_eq!(listed(&mut list, &state, now), ["bob*", "Cleo"]);
        list.select(3);
        list.is_online_only = true;
        assert_eq!(
            listed(&mut list, &state, now)[0],
            "bob*",
            "amy is not listed"
        );
        list.set_height(0);
        assert_eq!(listed(&mut list, &state, now), [""; 0]);
    }
}
