//! The options that a configuration gives: [`ClientOptions::from_config`].

use super::{ClientOptions, Existing, WhenFull};
use crate::error::KafkaError;
use tidings_config::{BinderConfig, BinderUrl, Secret, Setting};
use tidings_core::BinderError;

/// The largest message that a producer sends.
const MAX_BYTES: &str = "message.max.bytes";

impl ClientOptions {
    /// The brokers of a URL with what a configuration says of their binder. Every property that is wrong is named, with
    /// its place in the configuration.
    ///
    /// # Errors
    /// [`BinderError::Open`] with all mistakes; no secret is in it.
    pub fn from_config(url: &BinderUrl, config: &BinderConfig) -> Result<Self, BinderError> {
        let failed = |reason: String| BinderError::Open {
            url: url.to_string(),
            reason,
        };
        let mut options = Self::from_url(url.expose()).map_err(|error| {
            let origin = config.url.as_ref().map(|url| format!(" ({})", url.origin));
            failed(format!("{}{}", of_url(error), origin.unwrap_or_default()))
        })?;
        let mut mistakes = Vec::new();
        for (name, setting) in &config.kafka {
            options.take(name, setting, &mut mistakes);
        }
        let is_set = |name: &str| config.kafka.contains_key(name);
        if let Some(bytes) = &config.max_message_bytes
            && !is_set(MAX_BYTES)
            && !is_set("producer.message.max.bytes")
        {
            let text = Secret::new(bytes.value.to_string());
            options.take(
                MAX_BYTES,
                &Setting::new(text, bytes.origin.clone()),
                &mut mistakes,
            );
        }
        if !mistakes.is_empty() {
            return Err(failed(mistakes.join("; ")));
        }
        Ok(options.with_keys(config))
    }

    /// Takes a property, or notes why not.
    fn take(&mut self, name: &str, setting: &Setting<Secret>, mistakes: &mut Vec<String>) {
        match self.clone().with_properties([(name, setting.value.expose())]) {
            Ok(with) => *self = with,
            Err(error) => mistakes.push(format!("{} ({})", told(error, setting), setting.origin)),
        }
    }

    /// With the keys of our own.
    fn with_keys(mut self, config: &BinderConfig) -> Self {
        if let Some(timeout) = &config.request_timeout {
            self = self.with_request_timeout(timeout.value);
        }
        if let Some(interval) = &config.retry_trim_interval {
            self = self.with_retry_trim_interval(interval.value);
        }
        self = self.with_when_full(when_full(config));
        if let Some(existing) = &config.existing {
            self = self.with_existing(match existing.value {
                tidings_config::Existing::Take => Existing::Take,
                tidings_config::Existing::Validate => Existing::Validate,
            });
        }
        if let Some(replicas) = &config.replication {
            self = self.with_replication(u16::try_from(replicas.value).unwrap_or(u16::MAX));
        }
        let settings = config.topic.iter();
        settings.fold(self, |options, (name, setting)| {
            options.with_topic_setting(name, setting.value.expose())
        })
    }
}

fn when_full(config: &BinderConfig) -> WhenFull {
    let wanted = config.when_full.as_ref().map(|wanted| wanted.value);
    let most = config.max_waiting_bytes.as_ref().map(|bytes| bytes.value);
    WhenFull::of_keys(wanted == Some(tidings_config::WhenFull::Refuse), most)
}

/// What is wrong with an address, which the error around it names.
fn of_url(error: KafkaError) -> String {
    match error {
        KafkaError::Url { reason, .. } => format!("{reason}; write kafka://host:9092,host:9092"),
        other => other.to_string(),
    }
}

/// The error in words. A value from a place for secrets is not repeated, whatever the property is called.
fn told(error: KafkaError, setting: &Setting<Secret>) -> String {
    match error {
        KafkaError::BadValue { name, .. } if setting.origin.is_secret() => {
            format!("the Kafka property \"{name}\" cannot be ***: the client refuses it")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tidings_config::Config;

    fn read(toml: &str) -> Result<ClientOptions, String> {
        let config = Config::builder()
            .toml("t.toml", toml)
            .env::<&str, &str>([])
            .load();
        let binder = config.expect("the configuration itself is right").binder("main");
        let url = binder.url.clone().expect("it has an address");
        ClientOptions::from_config(&url.value, &binder).map_err(|error| error.to_string())
    }

    #[test]
    fn every_key_of_a_binder_reaches_the_clients() {
        let options = read(
            "[binder.main]\nurl = \"kafka://h1,h2:1\"\nrequest_timeout = \"3s\"\nretry_trim_interval = \"5s\"\nwhen_full = \"wait\"\n\
             max_waiting_bytes = \"1MiB\"\nexisting = \"validate\"\nreplication = 3\nmax_message_bytes = \"2MiB\"\n\
             topic.\"min.insync.replicas\" = 2\nkafka.\"client.id\" = \"till\"\nkafka.\"consumer.fetch.min.bytes\" = 7\n",
        )
        .expect("every key is right");
        assert_eq!(options.servers(), "h1:9092,h2:1");
        assert_eq!(options.request_timeout(), Duration::from_secs(3));
        assert_eq!(options.retry_trim_interval(), Duration::from_secs(5));
        assert_eq!(options.when_full(), WhenFull::Wait { max_bytes: 1 << 20 });
        assert_eq!(options.existing(), Existing::Validate);
        assert_eq!(options.replication(), Some(3));
        assert_eq!(
            options
                .topic_settings()
                .get("min.insync.replicas")
                .map(String::as_str),
            Some("2")
        );
        assert_eq!(options.producer().get(MAX_BYTES), Some("2097152"));
        assert_eq!(options.consumer().get("client.id"), Some("till"));
        assert_eq!(options.consumer().get("fetch.min.bytes"), Some("7"));
        let refusing = read("[binder.main]\nurl = \"kafka:h\"\nwhen_full = \"refuse\"\n").expect("right");
        assert_eq!(refusing.when_full(), WhenFull::Refuse);
    }

    #[test]
    fn every_property_that_is_wrong_is_named_with_its_line_and_no_secret_is() {
        let error = read(
            "[binder.main]\nurl = \"kafka://h\"\nkafka.\"linger.sm\" = 3\nkafka.\"group.id\" = \"x\"\n\
             kafka.\"linger.ms\" = \"long\"\nkafka.\"sasl.pasword\" = \"hunter2\"\n",
        )
        .expect_err("refused");
        for (word, place) in [
            ("\"linger.ms\"?", "t.toml:3"),
            ("subscription names its group", "t.toml:4"),
            ("cannot be \"long\"", "t.toml:5"),
            ("\"sasl.password\"?", "t.toml:6"),
        ] {
            assert!(
                error.contains(word) && error.contains(place),
                "{word} {place}: {error}"
            );
        }
        assert!(!error.contains("hunter2"), "{error}");
        let error = read("[binder.main]\nurl = \"kafka://h:x\"\n").expect_err("refused");
        assert!(
            error.contains("\"x\" is no port") && error.contains("(t.toml:2)"),
            "{error}"
        );
    }
}
