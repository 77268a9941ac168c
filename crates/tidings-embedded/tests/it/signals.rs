//! The wake-up of a reader, in every order in which two threads can meet there.

use loom::sync::atomic::{AtomicBool as Message, Ordering as Order};
use loom::sync::{Arc, Mutex};
use loom::thread;

/// The broker's own source, with loom's atomics.
mod flag {
    use loom::sync::atomic::{AtomicBool, Ordering, fence};

    include!("../../src/flag.rs");
}

/// What writers and a reader share: two messages, the flag, and whether a wake-up is under way, which tokio keeps for
/// a reader that comes later.
struct Shared {
    messages: [Message; 2],
    flag: flag::Flag,
    woken: Message,
}

impl Shared {
    fn write(&self, message: usize) {
        self.messages[message].store(true, Order::Relaxed);
        if self.flag.raise() {
            self.woken.store(true, Order::Release);
        }
    }

    fn read(&self) -> usize {
        self.flag.lower();
        let seen = |message: &&Message| message.load(Order::Relaxed);
        self.messages.iter().filter(seen).count()
    }
}

#[test]
fn a_reader_that_looked_too_early_finds_the_signal_raised() {
    loom::model(|| {
        let shared = Arc::new(Shared {
            messages: [Message::new(false), Message::new(false)],
            flag: flag::Flag::new(),
            woken: Message::new(false),
        });
        let writers = [0, 1].map(|message| {
            let shared = shared.clone();
            thread::spawn(move || shared.write(message))
        });
        // The reader looks once while they write, and goes to sleep unless the flag is up.
        let seen = shared.read();
        for writer in writers {
            writer.join().unwrap();
        }
        if seen < 2 {
            assert!(shared.flag.is_up(), "a message would wait for the next one");
            assert!(shared.woken.load(Order::Acquire), "nobody would wake the reader");
        }
    });
}

/// The same with the list of places, of which there is one: a reader looks only where it was told to.
struct Told {
    shared: Shared,
    told: flag::Told,
    list: Mutex<Vec<u32>>,
}

impl Told {
    fn write(&self, message: usize) {
        self.shared.messages[message].store(true, Order::Relaxed);
        if self.told.tell() {
            self.list.lock().unwrap().push(0);
        }
        if self.shared.flag.raise() {
            self.shared.woken.store(true, Order::Release);
        }
    }

    fn read(&self) -> usize {
        self.shared.flag.lower();
        if std::mem::take(&mut *self.list.lock().unwrap()).is_empty() {
            return 0;
        }
        self.told.hear();
        let seen = |message: &&Message| message.load(Order::Relaxed);
        self.shared.messages.iter().filter(seen).count()
    }
}

#[test]
fn a_place_that_a_reader_looked_at_too_early_is_told_again() {
    let mut every_order = loom::model::Builder::new();
    // With the list's lock there are too many to try those in which the threads are interrupted more often than this.
    every_order.preemption_bound = Some(2);
    every_order.check(|| {
        let told = Arc::new(Told {
            shared: Shared {
                messages: [Message::new(false), Message::new(false)],
                flag: flag::Flag::new(),
                woken: Message::new(false),
            },
            told: flag::Told::new(),
            list: Mutex::new(Vec::new()),
        });
        let writers = [0, 1].map(|message| {
            let told = told.clone();
            thread::spawn(move || told.write(message))
        });
        let seen = told.read();
        for writer in writers {
            writer.join().unwrap();
        }
        if seen < 2 {
            assert_eq!(*told.list.lock().unwrap(), [0], "nobody would look there");
            assert!(told.shared.flag.is_up(), "the reader would go to sleep");
            assert!(told.shared.woken.load(Order::Acquire), "nobody would wake it");
        }
    });
}
