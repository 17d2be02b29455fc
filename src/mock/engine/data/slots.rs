//! Slot storage with small keys. Keys are never reused, so a stale key finds nothing.

use std::marker::PhantomData;

/// A key into [`Slots`]: the position in the order of creation.
pub(crate) trait SlotKey: Copy {
    /// The key of a position.
    fn from_index(index: u32) -> Self;
    /// The position of a key.
    fn index(self) -> u32;
}

/// Defines a key type.
macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(u32);

        impl SlotKey for $name {
            fn from_index(index: u32) -> Self {
                Self(index)
            }

            fn index(self) -> u32 {
                self.0
            }
        }
    };
}

key!(
    /// The key of a user.
    UserKey
);
key!(
    /// The key of a channel.
    ChannelKey
);

impl ChannelKey {
    /// The largest possible key.
    pub(crate) const MAX: Self = Self(u32::MAX);
}

/// Items in order of creation. A removed item leaves an empty slot of one word.
#[derive(Debug, Clone)]
pub(crate) struct Slots<K, T> {
    slots: Vec<Option<Box<T>>>,
    live: usize,
    key: PhantomData<K>,
}

impl<K, T> Default for Slots<K, T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            live: 0,
            key: PhantomData,
        }
    }
}

impl<K: SlotKey, T> Slots<K, T> {
    pub(crate) fn insert(&mut self, thing: T) -> K {
        let index =
            u32::try_from(self.slots.len()).expect("four thousand million things do not fit");
        self.slots.push(Some(Box::new(thing)));
        self.live += 1;
        K::from_index(index)
    }

    pub(crate) fn get(&self, key: K) -> Option<&T> {
        self.slots.get(key.index() as usize)?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut T> {
        self.slots.get_mut(key.index() as usize)?.as_deref_mut()
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<T> {
        let thing = self.slots.get_mut(key.index() as usize)?.take()?;
        self.live -= 1;
        Some(*thing)
    }

    pub(crate) const fn len(&self) -> usize {
        self.live
    }

    /// All items, oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (K, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let index = u32::try_from(index).expect("insert has checked it");
            slot.as_deref().map(|thing| (K::from_index(index), thing))
        })
    }
}
