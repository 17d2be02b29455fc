//! Shards: a stable split of all users, so that several processes can share a list without coordination.
//!
//! The shard of a user depends only on their id and the number of shards. It is the same on every machine and in every
//! version of this program.

use std::fmt;
use std::str::FromStr;

/// One shard of N, written `I/N`, from `1/N` to `N/N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    of: u32,
}

impl Shard {
    /// The only shard: all users.
    pub const ALL: Self = Self { index: 1, of: 1 };

    /// Whether a user belongs to this shard.
    pub fn contains(self, id: &str) -> bool {
        // FNV-1a, 64 bits: fixed by its definition, unlike the hash of the standard library.
        let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        // The low bits of this hash are weak for short ids, so the high bits are mixed in.
        let mixed = (hash ^ (hash >> 32)) % u64::from(self.of);
        mixed == u64::from(self.index - 1)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text
            .split_once('/')
            .and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((index, of)) if (1..=of).contains(&index) => Ok(Self { index, of }),
            _ => Err(format!(
                "`{text}` is not a shard; write I/N, such as 1/3, 2/3 or 3/3"
            )),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_is_in_exactly_one_shard() {
        let parts: Vec<Shard> = (1..=7)
            .map(|index| format!("{index}/7").parse().unwrap())
            .collect();
        let mut counts = [0; 7];
        for user in 0..7000 {
            let id = format!("user-{user}");
            let takers: Vec<usize> = (0..7).filter(|part| parts[*part].contains(&id)).collect();
            assert_eq!(takers.len(), 1, "{id}");
            counts[takers[0]] += 1;
        }
        assert!(
            counts.iter().all(|count| (800..1200).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn the_split_never_changes() {
        let part: Shard = "2/3".parse().unwrap();
        let taken: Vec<&str> = ["amy", "bob", "cem", "dan", "eve", "john", "jack"]
            .into_iter()
            .filter(|id| part.contains(id))
            .collect();
        assert_eq!(taken, ["amy", "cem", "dan"]);
        assert!(Shard::ALL.contains("anybody"));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "1", "0/3", "4/3", "1/0", "a/b", "1/3/5", "-1/3"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
