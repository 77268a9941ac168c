//! The wake-up of a reader, in every order in which two threads can meet there.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool as Message, Ordering as Order};
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
