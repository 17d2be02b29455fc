//! The activity of the demonstration: a seeded schedule of users who come, go and change their status.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::fixture::Demo;
use super::hub::Hub;

/// Runs the demonstration for ever.
pub(crate) async fn run(hub: Arc<Hub>, demo: Demo) {
    let mut schedule = Schedule::new(demo);
    loop {
        let (pause, place) = schedule.next();
        tokio::time::sleep(pause).await;
        hub.with(|state, now| {
            let users = if schedule.demo.users.is_empty() {
                state.user_ids()
            } else {
                schedule.demo.users.clone()
            };
            if let Some(id) = users.get(place % users.len().max(1)) {
                // A user who was deleted or deactivated meanwhile stays offline.
                let _ = state.toggle_virtual(now, id);
            }
        });
    }
}

/// The schedule: which user changes when.
struct Schedule {
    demo: Demo,
    random: SmallRng,
    started: bool,
}

impl Schedule {
    fn new(demo: Demo) -> Self {
        Self {
            random: SmallRng::seed_from_u64(demo.seed),
            demo,
            started: false,
        }
    }

    /// The pause before the next change, and the index of the user in the list. The first two users make half of all
    /// changes, so that a person who watches only them sees something soon.
    fn next(&mut self) -> (Duration, usize) {
        let (min, max) = self.demo.pace();
        let pause = self.random.random_range(min..=max);
        let place = if self.random.random_bool(0.5) {
            self.random.random_range(0..2)
        } else {
            self.random.random_range(0..1024)
        };
        let pause = if self.started { pause } else { pause / 4 };
        self.started = true;
        (pause, place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_schedule() {
        let take = |seed| {
            let mut schedule = Schedule::new(Demo {
                seed,
                ..Demo::default()
            });
            (0..50).map(|_| schedule.next()).collect::<Vec<_>>()
        };
        assert_eq!(take(7), take(7));
        assert_ne!(take(7), take(8));
        let (min, max) = Demo::default().pace();
        assert!(
            take(7)
                .iter()
                .skip(1)
                .all(|(pause, _)| (min..=max).contains(pause))
        );
    }
}
