//! What librdkafka complains about, in words that name the cause and the cure: [`Fault`].

use crate::client::Kind;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::types::RDKafkaRespErr;
use std::fmt;
use tidings_core::SourceError;

/// An error of librdkafka, or of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: Code,
    pub(crate) reason: String,
}

impl Fault {
    /// With librdkafka's words for it; without any, those of the code.
    pub(crate) fn new(code: Code, reason: String) -> Self {
        let reason = if reason.is_empty() {
            code.to_string()
        } else {
            reason
        };
        Self { code, reason }
    }

    /// What a call of librdkafka returned.
    pub(crate) fn check(code: RDKafkaRespErr) -> Result<(), Self> {
        match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            code => Err(Self::new(code.into(), String::new())),
        }
    }

    /// Whether it says that no broker answers, and not why.
    pub(crate) fn is_away(&self) -> bool {
        self.code == Code::AllBrokersDown
    }

    /// Whether it is the end of one connection, as happens in any day of a broker.
    pub(crate) fn is_connection(&self) -> bool {
        matches!(
            self.code,
            Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut
        )
    }

    /// Whether brokers may only not know yet what others know: a topic that is new, a leader that was elected.
    pub(crate) fn may_be_news(&self) -> bool {
        matches!(
            self.code,
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition
        ) || self.is_of_leader()
            || self.is_of_coordinator()
    }

    /// Whether a partition has another leader than was thought, or is getting one.
    pub(crate) fn is_of_leader(&self) -> bool {
        matches!(
            self.code,
            Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::FencedLeaderEpoch
                | Code::UnknownLeaderEpoch
        )
    }

    /// Whether there is nothing any more, or not yet, where it is read.
    pub(crate) fn is_out_of_range(&self) -> bool {
        matches!(self.code, Code::AutoOffsetReset | Code::OffsetOutOfRange)
    }

    /// Whether a broker takes less text beside an offset than it was given.
    pub(crate) fn is_of_text(&self) -> bool {
        self.code == Code::OffsetMetadataTooLarge
    }

    /// Whether a group's coordinator is on its way: it moves, or has just been made.
    pub(crate) fn is_of_coordinator(&self) -> bool {
        matches!(
            self.code,
            Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::WaitingForCoordinator
        )
    }

    /// Whether this member is no longer of its group: the group will tell which partitions are lost.
    pub(crate) fn is_left_out(&self) -> bool {
        matches!(
            self.code,
            Code::UnknownMemberId
                | Code::IllegalGeneration
                | Code::FencedInstanceId
                | Code::StaleMemberEpoch
                | Code::FencedMemberEpoch
                | Code::AssignmentLost
        )
    }

    /// Whether it is over as soon as the group has settled again, which it does by itself.
    pub(crate) fn is_rebalance(&self) -> bool {
        matches!(
            self.code,
            Code::RebalanceInProgress | Code::IllegalGeneration | Code::StaleMemberEpoch
        )
    }

    /// What to do, where that is known.
    fn cure(&self) -> Option<&'static str> {
        let of_member = match self.code {
            Code::FencedInstanceId => {
                "another member has the same group.instance.id: give each instance its own"
            }
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
                "create the topic, or allow it with [channel.…] create = \"if-missing\""
            }
            Code::PollExceeded => "the service stood still for longer than max.poll.interval.ms",
            Code::InconsistentGroupProtocol => {
                "its members must share one of partition.assignment.strategy, and one group.protocol"
            }
            Code::UnsupportedVersion => "use a newer broker, or leave group.protocol at classic",
            _ => return crate::client::cure(self.code, &self.reason),
        };
        Some(of_member)
    }

    /// As a source's error: asking again may help.
    pub(crate) fn unavailable(&self) -> SourceError {
        let reason = self.to_string();
        match crate::client::kind(self.code, &self.reason) {
            Kind::Refused | Kind::Denied => SourceError::Unauthorized { reason },
            _ => SourceError::Unavailable { reason },
        }
    }

    /// As a source's error: asking again will not help.
    pub(crate) fn refused(&self) -> SourceError {
        SourceError::Refused {
            reason: self.to_string(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.trim())?;
        match self.cure() {
            Some(cure) => write!(f, ": {cure}"),
            None => Ok(()),
        }
    }
}
