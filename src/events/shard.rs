//! Shards: a stable split of all users, so that several processes can share a list without coordination.
//!
//! The shard of a user depends only on their id and the number of shards. It is the same on every machine and in every
//! version of this program.

use std::fmt;
use std::str::FromStr;

/// The variable with the number of shards, for [`Shard::from_variables`].
const SHARDS_VARIABLE: &str = "PRESENCECTL_SHARDS";
/// The variables with the number of this process, counted from 0: of a pod of an indexed Kubernetes job, and of a pod of
/// a StatefulSet if its manifest passes on the pod's label.
const INDEX_VARIABLES: [&str; 2] = ["JOB_COMPLETION_INDEX", "POD_INDEX"];
/// The variable with the name of the pod. The name of a pod of a StatefulSet ends with its number.
const HOST_VARIABLE: &str = "HOSTNAME";

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

    /// The shard of this process in a Kubernetes StatefulSet or indexed job, which number their pods from 0.
    ///
    /// # Errors
    ///
    /// A variable is missing or has no usable value. The message names it.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let of = variable(SHARDS_VARIABLE).ok_or_else(|| {
            format!("{SHARDS_VARIABLE} is not set; set it to the number of shards, such as 3")
        })?;
        let of: u32 = of.parse().ok().filter(|of| *of > 0).ok_or_else(|| {
            format!("{SHARDS_VARIABLE} is `{of}`; set it to the number of shards, such as 3")
        })?;
        let given = INDEX_VARIABLES
            .iter()
            .find_map(|name| Some((*name, variable(name)?)));
        let (name, value, index) = match given {
            Some((name, value)) => {
                let index = value.parse::<u32>().ok();
                (name, value, index)
            }
            None => {
                let value = variable(HOST_VARIABLE).ok_or_else(|| {
                    "JOB_COMPLETION_INDEX, POD_INDEX and HOSTNAME are not set; one of them must \
                     tell the number of this process"
                        .to_owned()
                })?;
                let number = value.rsplit_once('-').map(|(_, number)| number.parse());
                (HOST_VARIABLE, value, number.and_then(Result::ok))
            }
        };
        match index {
            Some(index) if index < of => Ok(Self {
                index: index + 1,
                of,
            }),
            Some(_) => Err(format!(
                "{name} is `{value}`, but the {of} shards of {SHARDS_VARIABLE} have the numbers from 0 to {}",
                of - 1
            )),
            None if name == HOST_VARIABLE => Err(format!(
                "{name} is `{value}`, which does not end with a number, such as `presence-0`; or \
                 set JOB_COMPLETION_INDEX or POD_INDEX"
            )),
            None => Err(format!(
                "{name} is `{value}`; expected a number from 0 to {}",
                of - 1
            )),
        }
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
                "`{text}` is not a shard; write I/N, such as 1/3, 2/3 or 3/3, or `env`"
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
    fn kubernetes_numbers_the_shards_of_pods_from_0() {
        let of = |variables: &[(&str, &str)]| {
            Shard::from_variables(|name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            })
            .map(|shard| shard.to_string())
        };
        let n = ("PRESENCECTL_SHARDS", "3");
        assert_eq!(of(&[n, ("HOSTNAME", "presence-0")]).unwrap(), "1/3");
        assert_eq!(of(&[n, ("HOSTNAME", "a-b-2")]).unwrap(), "3/3");
        let pod = ("POD_INDEX", "1");
        assert_eq!(of(&[n, pod, ("HOSTNAME", "web-0")]).unwrap(), "2/3");
        let job = ("JOB_COMPLETION_INDEX", "2");
        // The name of a job's pod ends with random letters, which may be digits.
        assert_eq!(of(&[n, job, ("HOSTNAME", "job-2-00000")]).unwrap(), "3/3");
        insta::assert_snapshot!(
            [
                of(&[]),
                of(&[("PRESENCECTL_SHARDS", "0"), pod]),
                of(&[n]),
                of(&[n, ("HOSTNAME", "presence-3")]),
                of(&[n, ("HOSTNAME", "laptop")]),
                of(&[n, ("POD_INDEX", "one")]),
                of(&[n, ("JOB_COMPLETION_INDEX", "-1"), pod]),
            ]
            .map(Result::unwrap_err)
            .join("\n"),
            @r"
        PRESENCECTL_SHARDS is not set; set it to the number of shards, such as 3
        PRESENCECTL_SHARDS is `0`; set it to the number of shards, such as 3
        JOB_COMPLETION_INDEX, POD_INDEX and HOSTNAME are not set; one of them must tell the number of this process
        HOSTNAME is `presence-3`, but the 3 shards of PRESENCECTL_SHARDS have the numbers from 0 to 2
        HOSTNAME is `laptop`, which does not end with a number, such as `presence-0`; or set JOB_COMPLETION_INDEX or POD_INDEX
        POD_INDEX is `one`; expected a number from 0 to 2
        JOB_COMPLETION_INDEX is `-1`; expected a number from 0 to 2
        "
        );
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "1", "0/3", "4/3", "1/0", "a/b", "1/3/5", "-1/3"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
