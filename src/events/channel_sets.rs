//! Sets of channels, each stored once, so that a user's memberships take four bytes.
//!
//! Most users share their channels with many others. Every distinct set is interned with a reference count, and a user
//! holds its number.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

/// The number of an interned set. It means something to its [`ChannelSets`] only; the default is the empty set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ChannelSet(Option<NonZeroU32>);

impl ChannelSet {
    pub(super) const fn is_empty(self) -> bool {
        self.0.is_none()
    }

    fn from_index(index: usize) -> Self {
        let number = u32::try_from(index + 1).expect("there are fewer sets than users");
        Self(NonZeroU32::new(number))
    }

    fn index(self) -> Option<usize> {
        self.0.map(|number| number.get() as usize - 1)
    }
}

/// All sets that at least one user has.
#[derive(Debug, Default)]
pub(super) struct ChannelSets {
    /// The sorted channels of each set, and how many users have it.
    sets: Vec<(Arc<[u16]>, u32)>,
    indices: HashMap<Arc<[u16]>, usize>,
    /// Indices in `sets` that no user has any more.
    free: Vec<usize>,
}

impl ChannelSets {
    pub(super) fn contains(&self, set: ChannelSet, channel: u16) -> bool {
        self.channels(set).binary_search(&channel).is_ok()
    }

    /// Moves one user from `set` to the set that also contains `channel`.
    pub(super) fn with(&mut self, set: ChannelSet, channel: u16) -> ChannelSet {
        let mut channels = self.channels(set).to_vec();
        match channels.binary_search(&channel) {
            Ok(_) => return set,
            Err(index) => channels.insert(index, channel),
        }
        self.replace(set, &channels)
    }

    /// Moves one user from `set` to the set that does not contain `channel`.
    pub(super) fn without(&mut self, set: ChannelSet, channel: u16) -> ChannelSet {
        let mut channels = self.channels(set).to_vec();
        match channels.binary_search(&channel) {
            Ok(index) => channels.remove(index),
            Err(_) => return set,
        };
        self.replace(set, &channels)
    }

    fn channels(&self, set: ChannelSet) -> &[u16] {
        set.index().map_or(&[], |index| &self.sets[index].0)
    }

    fn replace(&mut self, old: ChannelSet, channels: &[u16]) -> ChannelSet {
        let new = self.intern(channels);
        if let Some(index) = old.index() {
            let (channels, users) = &mut self.sets[index];
            *users -= 1;
            if *users == 0 {
                self.indices.remove(&**channels);
                self.free.push(index);
            }
        }
        new
    }

    /// The number of a set, counted for one more user.
    fn intern(&mut self, channels: &[u16]) -> ChannelSet {
        if channels.is_empty() {
            return ChannelSet::default();
        }
        if let Some(&index) = self.indices.get(channels) {
            self.sets[index].1 += 1;
            return ChannelSet::from_index(index);
        }
        let channels: Arc<[u16]> = channels.into();
        let index = self.free.pop().unwrap_or(self.sets.len());
        self.indices.insert(channels.clone(), index);
        if index == self.sets.len() {
            self.sets.push((channels, 1));
        } else {
            self.sets[index] = (channels, 1);
        }
        ChannelSet::from_index(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_stored_once_and_as_long_as_a_user_has_it() {
        let mut sets = ChannelSets::default();
        let none = ChannelSet::default();
        let amy = sets.with(none, 2);
        let bob = sets.with(none, 2);
        assert_eq!(amy, bob);
        let both = sets.with(bob, 1);
        let other_way = sets.with(none, 1);
        let other_way = sets.with(other_way, 2);
        assert_eq!(both, other_way);
        assert!(
            sets.contains(both, 1)
                && sets.contains(both, 2)
                && !sets.contains(amy, 1)
                && !sets.contains(none, 2)
        );
        assert_eq!((sets.with(both, 1), sets.without(both, 7)), (both, both));
        assert!(sets.without(amy, 2).is_empty());
        for user in [both, other_way] {
            let user = sets.without(user, 1);
            assert!(sets.contains(user, 2) && !sets.contains(user, 1));
            assert!(sets.without(user, 2).is_empty());
        }
        assert!(sets.indices.is_empty());
        for channel in 0..100 {
            let user = sets.with(none, channel);
            sets.without(user, channel);
        }
        assert!(sets.sets.len() <= 3, "indices are reused");
    }
}
