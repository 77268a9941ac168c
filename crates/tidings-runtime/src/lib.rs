//! The engine of Tidings: it runs the subscriptions of an app.
//!
//! A subscription is one task that owns its source, its ledgers and its dispatcher; messages never cross tasks.
//! [`start`] runs one, [`start_producer`] runs what only publishes, [`redrive`] sends dead letters back.

mod budget;
mod claims;
mod deaths;
mod discovery;
mod dispatcher;
mod effects;
mod inbox;
mod keys;
mod lane;
mod ledger;
mod letters;
mod marking;
mod panics;
mod pipeline;
mod producer;
mod redrive;
mod replies;
mod scope;
mod slots;
mod span;
mod spec;
mod status;
mod subscription;
mod tasks;
mod timers;
mod verdict;

pub use claims::{ClaimLayer, ClaimRule, Claims};
pub use discovery::{Discovery, LetterName, Pattern, PatternError, PatternInput, PatternReads};
pub use producer::{Call, Open, ProducerHandle, ProducerSpec, ProducerStatus, Work, start_producer};
pub use redrive::{
    DeadLetter, EachLetter, LetterList, RedriveError, RedriveInput, RedriveMode, RedriveReport, RedriveSpec,
    RedriveWatch, Selection, look_through, pending_dead_letters, redrive,
};
pub use replies::{RequestSpec, requester};
pub use spec::{DeadLetterTarget, Input, SubscriptionSpec};
pub use status::{LaneStatus, Phase, ReplyStatus, SubscriptionStatus};
pub use subscription::{Around, DrainReport, SubscriptionHandle, start, start_within};
