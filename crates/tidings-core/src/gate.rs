//! Keeps a message alone: [`Gate`].
//!
//! Every subscription of a broker is a member. One that asks to be alone gets it when the others handle nothing; until it
//! withdraws, none of them starts anything. Several take turns. The gate never waits and knows no time: whoever asks
//! decides how long to wait, and how long to stay.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// What the subscriptions of a broker agree by on who handles alone.
#[derive(Debug, Default)]
pub struct Gate {
    /// Somebody asks. Looked at far more often than changed.
    closed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    members: BTreeMap<u64, Member>,
    joined: u64,
    /// Who asks; the first is alone as soon as the others are quiet.
    asking: VecDeque<u64>,
}

#[derive(Debug)]
struct Member {
    bell: Waker,
    /// It handles nothing, and has seen that it may not start anything.
    quiet: bool,
}

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// Nobody asks to be alone.
    Open,
    /// Somebody asks, or is alone: start nothing.
    Closed,
    /// Nobody else handles anything, until this member withdraws.
    Alone,
}

impl Gate {
    /// A new member. The bell is rung whenever it should look at the gate.
    pub fn join(self: &Arc<Self>, bell: Waker) -> GateMember {
        let mut state = self.lock();
        state.joined += 1;
        let number = state.joined;
        state.members.insert(number, Member { bell, quiet: false });
        GateMember {
            gate: self.clone(),
            number,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes or opens as the list of those who ask says. The lock is held, so nobody sees it half done.
    fn settle(&self, state: &State) {
        self.closed.store(!state.asking.is_empty(), Ordering::Release);
    }
}

impl State {
    fn ring_others(&self, number: u64) {
        let others = self.members.iter().filter(|(other, _)| **other != number);
        others.for_each(|(_, member)| member.bell.wake_by_ref());
    }

    fn ring(&self, number: u64) {
        if let Some(member) = self.members.get(&number) {
            member.bell.wake_by_ref();
        }
    }

    /// Whether all but that member are quiet.
    fn others_are_quiet(&self, number: u64) -> bool {
        let mut members = self.members.iter();
        members.all(|(other, member)| *other == number || member.quiet)
    }

    fn say(&mut self, number: u64, quiet: bool) {
        if let Some(member) = self.members.get_mut(&number) {
            member.quiet = quiet;
        }
    }

    /// Forgets that a member asks. Whether that changes who is first.
    fn forget(&mut self, number: u64) -> bool {
        let first = self.asking.front() == Some(&number);
        self.asking.retain(|other| *other != number);
        first
    }
}

/// A subscription at a [`Gate`]. Dropping it leaves.
#[derive(Debug)]
pub struct GateMember {
    gate: Arc<Gate>,
    number: u64,
}

impl GateMember {
    /// Asks to be alone; asking again changes nothing.
    pub fn ask(&self) {
        let mut state = self.gate.lock();
        if state.asking.contains(&self.number) {
            return;
        }
        if state.asking.is_empty() {
            // What they said of an earlier time counts for nothing.
            state.members.values_mut().for_each(|member| member.quiet = false);
        }
        state.asking.push_back(self.number);
        self.gate.settle(&state);
        state.ring_others(self.number);
    }

    /// Asks no more, or gives up being alone.
    pub fn withdraw(&self) {
        let mut state = self.gate.lock();
        if state.forget(self.number) {
            state.say(self.number, false);
            self.gate.settle(&state);
            state.ring_others(self.number);
        }
    }

    /// What this member may do, which handles `handling` messages now. It is bound by the answer until it looks again.
    pub fn look(&self, handling: usize) -> Passage {
        if !self.gate.closed.load(Ordering::Acquire) {
            return Passage::Open;
        }
        let mut state = self.gate.lock();
        let Some(first) = state.asking.front().copied() else {
            return Passage::Open;
        };
        state.say(self.number, handling == 0);
        let granted = state.others_are_quiet(first);
        match (first == self.number, granted) {
            (true, true) => Passage::Alone,
            (false, true) => {
                state.ring(first);
                Passage::Closed
            }
            _ => Passage::Closed,
        }
    }
}

impl Drop for GateMember {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.members.remove(&self.number);
        state.forget(self.number);
        self.gate.settle(&state);
        state.ring_others(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[derive(Debug, Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Bell {
        fn rung(&self) -> bool {
            self.0.swap(0, Ordering::Relaxed) > 0
        }
    }

    fn members(count: usize) -> Vec<(GateMember, Arc<Bell>)> {
        let gate = Arc::new(Gate::default());
        let join = |_| {
            let bell = Arc::new(Bell::default());
            (gate.join(bell.clone().into()), bell)
        };
        (0..count).map(join).collect()
    }

    #[test]
    fn one_is_alone_when_the_others_handle_nothing() {
        let all = members(3);
        let [(a, a_bell), (b, b_bell), (c, _)] = &all[..] else {
            unreachable!()
        };
        assert_eq!((a.look(5), b.look(5)), (Passage::Open, Passage::Open));
        a.ask();
        assert!(b_bell.rung() && !a_bell.rung());
        assert_eq!((a.look(0), b.look(1)), (Passage::Closed, Passage::Closed));
        assert_eq!(c.look(0), Passage::Closed);
        assert!(!a_bell.rung(), "b still handles something");
        assert_eq!(b.look(0), Passage::Closed);
        assert!(a_bell.rung());
        assert_eq!((a.look(0), b.look(0)), (Passage::Alone, Passage::Closed));
        a.withdraw();
        assert!(b_bell.rung());
        assert_eq!((a.look(0), b.look(0)), (Passage::Open, Passage::Open));
    }

    #[test]
    fn those_who_ask_take_turns() {
        let all = members(2);
        let [(a, a_bell), (b, b_bell)] = &all[..] else {
            unreachable!()
        };
        a.ask();
        b.ask();
        assert_eq!((b.look(0), a.look(0)), (Passage::Closed, Passage::Alone));
        a_bell.rung();
        b_bell.rung();
        a.withdraw();
        assert!(b_bell.rung());
        assert_eq!(b.look(0), Passage::Closed, "a has not seen it yet");
        assert_eq!(a.look(0), Passage::Closed);
        assert!(b_bell.rung());
        assert_eq!(b.look(0), Passage::Alone);
    }

    #[test]
    fn whoever_leaves_holds_up_nobody() {
        let mut all = members(3);
        let (third, _) = all.pop().unwrap();
        let (second, _) = all.pop().unwrap();
        let (first, bell) = &all[0];
        second.ask();
        first.ask();
        assert_eq!(first.look(0), Passage::Closed);
        drop(second);
        assert!(bell.rung());
        assert_eq!(first.look(0), Passage::Closed, "the third handles something");
        bell.rung();
        drop(third);
        assert!(bell.rung());
        assert_eq!(first.look(0), Passage::Alone);
    }

    #[test]
    fn what_was_said_for_an_earlier_time_does_not_count() {
        let all = members(2);
        let [(a, _), (b, _)] = &all[..] else {
            unreachable!()
        };
        a.ask();
        assert_eq!((b.look(0), a.look(0)), (Passage::Closed, Passage::Alone));
        a.withdraw();
        a.ask();
        assert_eq!(
            a.look(0),
            Passage::Closed,
            "b may have started something in between"
        );
    }
}
