//! Who is a member of which channels, in four bytes a user.
//!
//! Most users share their channels with many others, so every combination of channels is kept once, as long as somebody
//! has it, and a user has its number. Users themselves are not known here.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

/// The channels of a user, by a number that means something to its [`ChannelSets`] only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ChannelSet(Option<NonZeroU32>);

impl ChannelSet {
    /// Whether these are no channels.
    pub(super) const fn is_empty(self) -> bool {
        self.0.is_none()
    }

    fn at(place: usize) -> Self {
        let number = u32::try_from(place + 1).expect("there are fewer combinations than users");
        Self(NonZeroU32::new(number))
    }

    fn place(self) -> Option<usize> {
        self.0.map(|number| number.get() as usize - 1)
    }
}

/// All combinations that somebody has.
#[derive(Debug, Default)]
pub(super) struct ChannelSets {
    /// The channels of each, sorted, and how many users have it.
    all: Vec<(Arc<[u16]>, u32)>,
    places: HashMap<Arc<[u16]>, usize>,
    /// Places in `all` that nobody has any more.
    free: Vec<usize>,
}

impl ChannelSets {
    /// Whether a channel is one of these.
    pub(super) fn has(&self, of: ChannelSet, channel: u16) -> bool {
        self.channels(of).binary_search(&channel).is_ok()
    }

    /// What becomes of a user's channels when he joins one.
    pub(super) fn joined(&mut self, of: ChannelSet, channel: u16) -> ChannelSet {
        let mut channels = self.channels(of).to_vec();
        match channels.binary_search(&channel) {
            Ok(_) => return of,
            Err(place) => channels.insert(place, channel),
        }
        self.exchange(of, &channels)
    }

    /// What becomes of a user's channels when he leaves one.
    pub(super) fn left(&mut self, of: ChannelSet, channel: u16) -> ChannelSet {
        let mut channels = self.channels(of).to_vec();
        match channels.binary_search(&channel) {
            Ok(place) => channels.remove(place),
            Err(_) => return of,
        };
        self.exchange(of, &channels)
    }

    fn channels(&self, of: ChannelSet) -> &[u16] {
        of.place().map_or(&[], |place| &self.all[place].0)
    }

    fn exchange(&mut self, old: ChannelSet, channels: &[u16]) -> ChannelSet {
        let new = self.taken(channels);
        if let Some(place) = old.place() {
            let (channels, users) = &mut self.all[place];
            *users -= 1;
            if *users == 0 {
                self.places.remove(&**channels);
                self.free.push(place);
            }
        }
        new
    }

    /// The number of a combination, for one more user.
    fn taken(&mut self, channels: &[u16]) -> ChannelSet {
        if channels.is_empty() {
            return ChannelSet::default();
        }
        if let Some(&place) = self.places.get(channels) {
            self.all[place].1 += 1;
            return ChannelSet::at(place);
        }
        let channels: Arc<[u16]> = channels.into();
        let place = self.free.pop().unwrap_or(self.all.len());
        self.places.insert(channels.clone(), place);
        if place == self.all.len() {
            self.all.push((channels, 1));
        } else {
            self.all[place] = (channels, 1);
        }
        ChannelSet::at(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_combination_is_kept_once_and_while_somebody_has_it() {
        let mut all = ChannelSets::default();
        let none = ChannelSet::default();
        let amy = all.joined(none, 2);
        let bob = all.joined(none, 2);
        assert_eq!(amy, bob);
        let both = all.joined(bob, 1);
        let other_way = all.joined(none, 1);
        let other_way = all.joined(other_way, 2);
        assert_eq!(both, other_way);
        assert!(all.has(both, 1) && all.has(both, 2) && !all.has(amy, 1) && !all.has(none, 2));
        assert_eq!((all.joined(both, 1), all.left(both, 7)), (both, both));
        assert!(all.left(amy, 2).is_empty());
        for user in [both, other_way] {
            let user = all.left(user, 1);
            assert!(all.has(user, 2) && !all.has(user, 1));
            assert!(all.left(user, 2).is_empty());
        }
        assert!(all.places.is_empty());
        for channel in 0..100 {
            let user = all.joined(none, channel);
            all.left(user, channel);
        }
        assert!(all.all.len() <= 3, "places are used again");
    }
}
