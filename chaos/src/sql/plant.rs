//! Bugs of hand-written inboxes and outboxes, planted on purpose: [`SqlPlant`].

use crate::plant::plants;

plants! {
    /// A bug that is planted around inbox, outbox and relay, none of it in the code under attack.
    SqlPlant:
    /// The claim is committed before the work is done.
    ClaimBeforeCommit = "claim-before-commit", caught as EffectLost;
    /// Nothing is claimed.
    NoClaim = "no-claim", caught as EffectDup;
    /// An event is published before its transaction is committed.
    PublishBeforeCommit = "publish-before-commit", caught as OutboxGhost;
    /// A relay takes a message out of the outbox before the broker has confirmed it.
    TakenBeforeConfirm = "taken-before-confirm", caught as OutboxMissing;
    /// A relay sends the messages of a batch in another order.
    ReorderBatch = "reorder-batch", caught as KeyReorder;
    /// Rows are deleted in the transaction that writes them, so that a replication slot alone knows of them.
    SlotAlone = "slot-alone", caught as OutboxMissing;
}

impl SqlPlant {
    /// Whether it is a bug of relays that replicate.
    pub fn needs_slot(self) -> bool {
        self == Self::SlotAlone
    }
}
