//! Bugs that are planted on purpose: [`Plant`]. A checker that finds none of them finds nothing.

/// Declares bugs: each with its name, and that under which it is reported.
macro_rules! plants {
    ($(#[$of:meta])* $plants:ident: $($(#[$doc:meta])* $plant:ident = $name:literal, caught as $rule:ident;)*) => {
        $(#[$of])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $plants {
            $($(#[$doc])* $plant,)*
        }

        impl $plants {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$plant),*];

            /// Its name on the command line.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$plant => $name,)*
                }
            }

            /// The name under which the checker must report it.
            pub fn caught_as(self) -> $crate::checker::Rule {
                match self {
                    $(Self::$plant => $crate::checker::Rule::$rule,)*
                }
            }

            /// The plant of that name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|plant| plant.name() == name)
            }
        }
    };
}
pub(crate) use plants;

plants! {
    /// A bug that is planted around the broker and the handlers, none of it in the code under attack.
    Plant:
    /// A batch counts as finished as soon as it was read.
    CommitBeforeHandle = "commit-before-handle", caught as CommitAhead;
    /// What a revoked lane has in flight counts as finished.
    SkipOnRevoke = "skip-on-revoke", caught as CommitAhead;
    /// A message is marked as seen before the work, so its second attempt is taken for a duplicate.
    MarkBeforeWork = "mark-before-work", caught as LostWrite;
    /// A queue is full now and then: the message is acknowledged and dropped.
    DropOnFullQueue = "drop-on-full-queue", caught as LostWrite;
    /// Acknowledged before the disk has it, under `fsync = always`.
    AckBeforeFsync = "ack-before-fsync", caught as LostWrite;
    /// A dead letter is acknowledged and not written.
    DeadLetterNotWritten = "dead-letter-not-written", caught as MissingDeadLetter;
    /// A message that was handled is among the dead letters too.
    DeadLetterOfHandled = "dead-letter-of-handled", caught as PhantomDeadLetter;
    /// A dead letter has another payload than its message.
    DeadLetterMangled = "dead-letter-mangled", caught as PhantomDeadLetter;
    /// A process stores no progress, so its clean stop is followed by everything once more.
    ForgetProgress = "forget-progress", caught as Duplicate;
    /// A retried message lets later ones of its key pass.
    ReorderKey = "reorder-key", caught as KeyReorder;
    /// Messages of one key are handled at the same time.
    OverlapKey = "overlap-key", caught as KeyOverlap;
    /// A message that nobody published is delivered.
    Invent = "invent", caught as Phantom;
    /// A drain waits for as long as it likes.
    IgnoreDeadline = "ignore-deadline", caught as ShutdownLate;
    /// Every message leaves memory behind.
    GrowMemory = "grow-memory", caught as RssOver;
}
