//! What [`DestinationOptions`] say, for people.

use super::destination::DestinationOptions;
use super::kinds::ExchangeType;
use std::time::Duration;

impl DestinationOptions {
    /// In words, what exchange a destination is, and what queues get of it: `the topic exchange "orders", bound by #`.
    pub fn exchange_of(&self, destination: &str) -> String {
        let name = self.exchange.as_deref().unwrap_or(destination);
        let bound = match &self.bindings[..] {
            [] => String::new(),
            all => format!(", bound by {}", all.join(", ")),
        };
        match self.exchange_type() {
            ExchangeType::Default => "none: messages go to the queue of their routing key".to_owned(),
            kind => format!("{name} ({}{bound})", kind.as_str()),
        }
    }

    /// What is said of the queues besides their name: `queue_type classic, message_ttl 1h`.
    pub fn queue_arguments_in_words(&self) -> String {
        let mut said = Vec::new();
        let mut say = |name: &str, value: Option<String>| {
            said.extend(value.map(|value| format!("{name} {value}")));
        };
        let time = |time: Option<Duration>| time.map(|time| format!("{time:?}"));
        say("queue_type", self.queue_type.map(|kind| kind.as_str().to_owned()));
        say("prefetch", self.prefetch.map(|many| many.to_string()));
        say(
            "single_active_consumer",
            self.single_active_consumer.map(|single| single.to_string()),
        );
        say("delivery_limit", self.delivery_limit.map(|many| many.to_string()));
        say("message_ttl", time(self.message_ttl));
        say("queue_expires", time(self.unused_for));
        say("max_length", self.max_length.map(|many| many.to_string()));
        say(
            "max_length_bytes",
            self.max_length_bytes.map(|many| many.to_string()),
        );
        say(
            "overflow",
            self.overflow.map(|overflow| overflow.as_str().to_owned()),
        );
        say("max_priority", self.max_priority.map(|most| most.to_string()));
        for (name, value) in &self.queue_arguments {
            say(name, Some(value.clone()));
        }
        said.join(", ")
    }
}
