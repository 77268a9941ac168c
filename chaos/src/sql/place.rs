//! The steps of a message at which a process is killed: [`Place`].

use crate::points::points;

points! {
    /// A step of a message through inbox, outbox and relay, at which a process is killed or stands still.
    Place:
    /// In a handler, before it does anything.
    HandleBefore = "handle-before", within 80;
    /// In a handler whose statements are all done.
    HandleAfter = "handle-after", within 80;
    /// After the claim, before the handler.
    Claimed = "claimed", within 60;
    /// Work, claim and events are written, and not committed.
    CommitBefore = "commit-before", within 60;
    /// They are committed, and the engine does not know.
    CommitAfter = "commit-after", within 60;
    /// A transaction without an inbox has written its row and its event.
    WriteBefore = "write-before", within 20;
    /// It is committed, and nobody was told.
    WriteAfter = "write-after", within 20;
    /// A relay has read a batch and sent nothing of it.
    RelayRead = "relay-read", within 10;
    /// A relay has sent a part of a batch.
    RelayAmid = "relay-amid", within 10;
    /// The broker has confirmed a batch, and nothing of it is taken out.
    RelaySent = "relay-sent", within 10;
    /// A relay that replicates has its slot, and has not looked at the table.
    SlotOpened = "slot-opened", within 1;
    /// It has sent some of what was in the table, or all, and nothing that came by the slot.
    SlotSwept = "slot-swept", within 1;
    /// It has taken rows out, and has not told the server how far it is.
    ConfirmBefore = "confirm-before", within 4;
    /// It has.
    ConfirmAfter = "confirm-after", within 4;
}

impl Place {
    /// Whether a relay is there: where one that stands still loses its lease.
    pub fn is_of_relay(self) -> bool {
        matches!(self, Self::RelayRead | Self::RelayAmid | Self::RelaySent) || self.is_of_slot()
    }

    /// Whether only a relay that replicates passes it.
    pub fn is_of_slot(self) -> bool {
        matches!(
            self,
            Self::SlotOpened | Self::SlotSwept | Self::ConfirmBefore | Self::ConfirmAfter
        )
    }
}
