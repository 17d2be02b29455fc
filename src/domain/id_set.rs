//! A compact set of ids, for lists of a million users.
//!
//! All ids are in one text, and the hash table holds their numbers only. So an id takes about 15 bytes beside its own
//! letters. No id is ever removed.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// A set of ids, each with a number: how many ids were added before it.
#[derive(Debug, Clone, Default)]
pub struct IdSet {
    /// The ids, concatenated.
    text: String,
    /// Where each id ends in the text.
    ends: Vec<u32>,
    /// The numbers of the ids, by the hash of the id.
    numbers: HashTable<u32>,
    hasher: RandomState,
}

impl IdSet {
    /// Adds an id unless it is a member. Returns its number, and whether it was added.
    pub fn insert(&mut self, id: &str) -> (usize, bool) {
        let hash = self.hasher.hash_one(id);
        let (text, ends, hasher) = (&self.text, &self.ends, &self.hasher);
        let entry = self.numbers.entry(
            hash,
            |number| slice(text, ends, *number as usize) == id,
            |number| hasher.hash_one(slice(text, ends, *number as usize)),
        );
        match entry {
            hashbrown::hash_table::Entry::Occupied(entry) => (*entry.get() as usize, false),
            hashbrown::hash_table::Entry::Vacant(entry) => {
                let number = self.ends.len();
                entry.insert(to_u32(number));
                self.text.push_str(id);
                self.ends.push(to_u32(self.text.len()));
                (number, true)
            }
        }
    }

    /// The number of an id; `None` if it is no member.
    pub fn number(&self, id: &str) -> Option<usize> {
        let is_id = |number: &u32| self.id(*number as usize) == id;
        let number = self.numbers.find(self.hasher.hash_one(id), is_id)?;
        Some(*number as usize)
    }

    /// The id with a number.
    ///
    /// # Panics
    ///
    /// No id has this number.
    pub fn id(&self, number: usize) -> &str {
        slice(&self.text, &self.ends, number)
    }

    /// The ids in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|number| self.id(number))
    }

    /// How many ids there are.
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no ids.
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

impl<T: AsRef<str>> FromIterator<T> for IdSet {
    fn from_iter<I: IntoIterator<Item = T>>(ids: I) -> Self {
        let mut set = Self::default();
        for id in ids {
            set.insert(id.as_ref());
        }
        set
    }
}

fn slice<'a>(text: &'a str, ends: &[u32], number: usize) -> &'a str {
    let start = number.checked_sub(1).map_or(0, |before| ends[before]);
    &text[start as usize..ends[number] as usize]
}

fn to_u32(size: usize) -> u32 {
    u32::try_from(size).expect("a list of ids has less than 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_numbered_in_the_order_of_their_first_appearance() {
        let mut set: IdSet = ["amy", "bob", "amy", ""].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), ["amy", "bob", ""]);
        assert_eq!(set.number("bob"), Some(1));
        assert_eq!(set.number("b"), None);
        assert_eq!(set.insert("cem"), (3, true));
        assert_eq!(set.insert("bob"), (1, false));
        assert_eq!((set.id(3), set.len()), ("cem", 4));
    }

    #[test]
    fn many_ids_are_found_again() {
        let ids: Vec<String> = (0..5000).map(|n| format!("user-{n}")).collect();
        let set: IdSet = ids.iter().collect();
        for (number, id) in ids.iter().enumerate() {
            assert_eq!((set.number(id), set.id(number)), (Some(number), &**id));
        }
    }
}
