//! What does not go together in [`DestinationOptions`].

use super::arguments::headers_of;
use super::consuming::QueueType;
use super::destination::DestinationOptions;
use super::kinds::ExchangeType;
use crate::error::RabbitError;

/// Arguments of queues that there are options for, or that are ours, with what to say in their place.
const OWN: [(&str, &str); 12] = [
    ("x-queue-type", "queue_type"),
    ("x-single-active-consumer", "single_active_consumer"),
    ("x-delivery-limit", "delivery_limit"),
    ("x-message-ttl", "message_ttl"),
    ("x-expires", "lose_queue_unused_for"),
    ("x-max-length", "max_length"),
    ("x-max-length-bytes", "max_length_bytes"),
    ("x-overflow", "overflow"),
    ("x-max-priority", "max_priority"),
    ("x-dead-letter-exchange", "the subscription's dead_letter"),
    ("x-dead-letter-routing-key", "the subscription's dead_letter"),
    ("x-dead-letter-strategy", "overflow"),
];

impl DestinationOptions {
    /// Checks what goes with what; `by_default` is the kind of queue where nothing is said here.
    ///
    /// # Errors
    /// [`RabbitError::Topology`].
    pub(crate) fn check(&self, destination: &str, by_default: QueueType) -> Result<(), RabbitError> {
        let wrong = |reason: String| {
            Err(RabbitError::Topology {
                what: format!("the destination \"{destination}\""),
                reason,
            })
        };
        let queue_type = self.queue_type.unwrap_or(by_default);
        if let Some((name, instead)) = OWN
            .iter()
            .find(|(name, _)| self.queue_arguments.contains_key(*name))
        {
            return wrong(format!(
                "{name} is no argument to pass on: say {instead} in its place"
            ));
        }
        if self.exchange_arguments.contains_key("alternate-exchange") {
            return wrong(
                "alternate-exchange is no argument to pass on: say alternate_exchange in its place"
                    .to_owned(),
            );
        }
        if self.max_priority.is_some() && queue_type != QueueType::Classic {
            return wrong(
                "only classic queues have a max_priority: say queue_type = \"classic\" too".to_owned(),
            );
        }
        match self.exchange_type() {
            ExchangeType::Direct | ExchangeType::Headers if self.bindings.is_empty() => wrong(format!(
                "the queues of a {} exchange get nothing without bindings",
                self.exchange_type().as_str()
            )),
            ExchangeType::Fanout | ExchangeType::Default if !self.bindings.is_empty() => wrong(format!(
                "an exchange of type {} has no use for bindings: take \"topic\", or leave them out",
                self.exchange_type().as_str()
            )),
            ExchangeType::Headers => match self.bindings.iter().find(|text| headers_of(text).is_none()) {
                Some(text) => wrong(format!(
                    "\"{text}\" binds nothing to a headers exchange: write name=value, joined by & (all) or | (any)"
                )),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_go_together_is_named_with_its_cure() {
        let of = DestinationOptions::new;
        for (options, words) in [
            (of(ExchangeType::Direct), "without bindings"),
            (of(ExchangeType::Headers), "without bindings"),
            (of(ExchangeType::Fanout).binding("a"), "no use for bindings"),
            (of(ExchangeType::Headers).binding("eu"), "name=value"),
            (of(ExchangeType::Headers).binding("a=1 & b=2 | c=3"), "name=value"),
            (
                of(ExchangeType::Topic).max_priority(5),
                "queue_type = \"classic\"",
            ),
            (
                of(ExchangeType::Topic).queue_argument("x-expires", "1"),
                "say lose_queue_unused_for",
            ),
            (
                of(ExchangeType::Topic).exchange_argument("alternate-exchange", "x"),
                "say alternate_exchange",
            ),
        ] {
            let error = options
                .check("orders", QueueType::Quorum)
                .unwrap_err()
                .to_string();
            assert!(error.contains(words) && error.contains("\"orders\""), "{error}");
        }
        let classic = of(ExchangeType::Topic)
            .max_priority(5)
            .queue_type(QueueType::Classic);
        assert_eq!(classic.check("orders", QueueType::Quorum), Ok(()));
    }
}
