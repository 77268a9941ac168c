//! What becomes of a message that processes died of, or beside: [`Standing`], a pure decision.
//!
//! The process itself cannot know why it was killed. So a death counts for every message that was being handled, and
//! what tells the guilty from the innocent is where they were:
//! - a handler that was **executing** may have been the reason; there are as many of them as threads. Its death counts
//!   as an attempt;
//! - a handler that was **waiting** is most likely innocent, but may have work on another thread that is not. Four of
//!   these deaths count as an attempt;
//! - a message with two such attempts is a **suspect**: it is handled alone from then on;
//! - a process that dies **while nothing else is handled** has died of that message: only this condemns it. So with
//!   fewer attempts configured it still needs the proof, and with more it still ends here.

use tidings_core::Deaths;

/// So many deaths while the handler was waiting count as one while it was executing.
const WAITING: u32 = 4;
/// A message with so many attempts that ended in a death is a suspect.
const SUSPECT: u32 = 2;

/// How a message is to be handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Standing {
    /// As any other.
    #[default]
    Usual,
    /// While nothing else is handled.
    Suspect,
    /// Not any more: it goes to the dead letters.
    Condemned,
}

/// How a message is to be handled after these deaths.
pub(crate) fn standing(deaths: &Deaths) -> Standing {
    if weight(deaths.executing_alone, deaths.waiting_alone) >= u64::from(WAITING) {
        Standing::Condemned
    } else if attempts(deaths) >= SUSPECT {
        Standing::Suspect
    } else {
        Standing::Usual
    }
}

/// How many attempts these deaths count as.
pub(crate) fn attempts(deaths: &Deaths) -> u32 {
    let executing = deaths.executing.saturating_add(deaths.executing_alone);
    let waiting = deaths.waiting.saturating_add(deaths.waiting_alone);
    u32::try_from(weight(executing, waiting) / u64::from(WAITING)).unwrap_or(u32::MAX)
}

fn weight(executing: u32, waiting: u32) -> u64 {
    u64::from(executing) * u64::from(WAITING) + u64::from(waiting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tidings_core::{Activity, Company};

    fn deaths([executing, waiting, executing_alone, waiting_alone]: [u32; 4]) -> Deaths {
        Deaths {
            offset: 0,
            executing,
            waiting,
            executing_alone,
            waiting_alone,
        }
    }

    #[test]
    fn only_a_death_alone_condemns() {
        use Standing::{Condemned, Suspect, Usual};
        let table = [
            // executing, waiting, executing alone, waiting alone
            ([0, 0, 0, 0], 0, Usual),
            ([1, 0, 0, 0], 1, Usual),
            ([2, 0, 0, 0], 2, Suspect),
            ([2, 0, 1, 0], 3, Condemned),
            ([9, 0, 0, 0], 9, Suspect),
            ([0, 7, 0, 0], 1, Usual),
            ([0, 8, 0, 0], 2, Suspect),
            ([0, 8, 0, 3], 2, Suspect),
            ([0, 8, 0, 4], 3, Condemned),
            ([1, 3, 0, 0], 1, Usual),
            ([1, 4, 0, 0], 2, Suspect),
            ([2, 0, 0, 3], 2, Suspect),
            ([u32::MAX, u32::MAX, 0, 0], u32::MAX, Suspect),
            ([u32::MAX; 4], u32::MAX, Condemned),
        ];
        for (counts, counted, expected) in table {
            let deaths = deaths(counts);
            assert_eq!(
                (attempts(&deaths), standing(&deaths)),
                (counted, expected),
                "{counts:?}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Whatever a message does: handled as the rule says it takes twelve deaths at the most, and three if it kills
        /// while it executes.
        #[test]
        fn every_message_that_always_kills_is_condemned(waits in prop::collection::vec(any::<bool>(), 12)) {
            let mut deaths = Deaths::of(0);
            let mut count = 0;
            while standing(&deaths) != Standing::Condemned {
                let company = match standing(&deaths) {
                    Standing::Suspect => Company::Nobody,
                    _ => Company::Others,
                };
                let activity = if waits[count] { Activity::Waiting } else { Activity::Executing };
                deaths.add(activity, company);
                count += 1;
                prop_assert!(count <= 12);
            }
            prop_assert!(count >= 3);
            if !waits.contains(&true) {
                prop_assert_eq!((count, attempts(&deaths)), (3, 3));
            }
        }
    }
}
