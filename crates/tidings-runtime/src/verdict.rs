//! What becomes of a delivery that failed: [`judge`], a pure decision.

use std::time::Duration;
use tidings_core::{Failure, FailureKind, MAX_BACKOFF, Retry};

/// What does not count as an attempt waits at least this long: it would spin otherwise.
const SHORTEST_POSTPONEMENT: Duration = Duration::from_millis(1);

/// What becomes of a delivery that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Deliver again after that time.
    Again {
        /// How long to wait.
        wait: Duration,
        /// Whether the delivery was an attempt.
        counts: bool,
    },
    /// Never again: to the dead letters, with this reason.
    GiveUp(&'static str),
}

/// What a handler fails with that was stopped because it took so long.
pub(crate) fn took_too_long(after: Duration) -> Failure {
    Failure::transient(format!("the handler took longer than {after:?}")).with_kind(FailureKind::Timeout)
}

/// Decides about attempt number `attempt` (from 1) that failed in this way. `random` is from 0.0 to 1.0.
pub(crate) fn judge(kind: FailureKind, attempt: u32, retry: &Retry, random: f64) -> Verdict {
    let wait = match kind {
        FailureKind::Permanent => return Verdict::GiveUp("permanent"),
        FailureKind::Undecodable => return Verdict::GiveUp("undecodable"),
        FailureKind::Unclaimed => return Verdict::GiveUp("unclaimed"),
        FailureKind::Rejected => return Verdict::GiveUp("rejected"),
        FailureKind::Later(wait) | FailureKind::Unavailable(wait) => {
            return Verdict::Again {
                wait: wait.clamp(SHORTEST_POSTPONEMENT, MAX_BACKOFF),
                counts: false,
            };
        }
        FailureKind::RetryAfter(wait) => wait.min(MAX_BACKOFF),
        _ => retry.wait_after(attempt, random),
    };
    if attempt >= retry.attempts.max(1) {
        Verdict::GiveUp("exhausted")
    } else {
        Verdict::Again { wait, counts: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn later_never_counts_and_never_ends() {
        let retry = Retry::none();
        let wait = Duration::from_secs(5);
        assert_eq!(
            judge(FailureKind::Later(wait), u32::MAX, &retry, 0.5),
            Verdict::Again { wait, counts: false }
        );
    }

    #[test]
    fn a_wait_of_its_own_still_counts() {
        let retry = Retry::fixed(2, Duration::from_secs(1));
        let wait = Duration::from_secs(7);
        assert_eq!(
            judge(FailureKind::RetryAfter(wait), 1, &retry, 0.5),
            Verdict::Again { wait, counts: true }
        );
        assert_eq!(
            judge(FailureKind::RetryAfter(wait), 2, &retry, 0.5),
            Verdict::GiveUp("exhausted")
        );
    }

    proptest! {
        #[test]
        fn a_failing_message_is_delivered_exactly_as_often_as_the_policy_says(attempts in 1u32..50, random in 0.0f64..1.0) {
            let retry = Retry::exponential(attempts, Duration::from_millis(1), 2.0);
            let mut delivered = 1;
            while judge(FailureKind::Transient, delivered, &retry, random) != Verdict::GiveUp("exhausted") {
                delivered += 1;
                prop_assert!(delivered <= attempts);
            }
            prop_assert_eq!(delivered, attempts);
            for kind in [FailureKind::Permanent, FailureKind::Undecodable, FailureKind::Unclaimed, FailureKind::Rejected] {
                prop_assert!(matches!(judge(kind, 1, &retry, random), Verdict::GiveUp(_)));
            }
        }
    }
}
