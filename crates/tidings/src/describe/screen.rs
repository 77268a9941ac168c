//! A [`Description`] on one screen: two lines a subscription, and what nobody set once at the end.

use super::{ChannelDescription, Description, SubscriptionDescription, Value};
use std::fmt;
use tidings_config::Origin;

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits: Vec<_> = self.values.iter().map(|value| Shown(value).to_string()).collect();
        writeln!(f, "{}  {}", self.app, limits.join("  "))?;
        for binder in &self.binders {
            writeln!(
                f,
                "  binder {}  {} ({})",
                binder.name, binder.url.value, binder.url.origin
            )?;
        }
        self.channels_on_screen(f)?;
        let width = self
            .subscriptions
            .iter()
            .map(|subscription| subscription.name.len())
            .max()
            .unwrap_or(0);
        for subscription in &self.subscriptions {
            Lines { subscription, width }.fmt(f)?;
        }
        for producer in &self.producers {
            let output = producer.output.as_deref().unwrap_or("the channels that it names");
            writeln!(
                f,
                "  {:width$}  {} -> {output}  at {}",
                producer.name, producer.when, producer.place
            )?;
        }
        for outbox in &self.outboxes {
            writeln!(
                f,
                "  outbox {}  sent {}  at {}",
                outbox.name, outbox.sent, outbox.place
            )?;
        }
        self.defaults_on_screen(f)
    }
}

impl Description {
    /// Channels that somebody said something of, each on its line; the others together.
    fn channels_on_screen(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |channel: &&ChannelDescription| {
            channel.values.iter().all(|value| value.origin == Origin::Default)
        };
        let (plain, said): (Vec<_>, Vec<_>) = self.channels.iter().partition(is_plain);
        for channel in said {
            let values = channel
                .values
                .iter()
                .filter(|value| value.origin != Origin::Default);
            writeln!(f, "  channel {}  {}", channel.name, by_origin(values, None))?;
        }
        if let Some(first) = plain.first() {
            let names: Vec<_> = plain.iter().map(|channel| channel.name.as_str()).collect();
            let partitions = first.values.iter().find(|value| value.key == "partitions");
            let partitions = partitions.map_or("", |value| value.value.as_str());
            writeln!(
                f,
                "  channels {}  partitions {partitions} (default)",
                names.join(", ")
            )?;
        }
        Ok(())
    }

    /// What holds wherever nothing else is said.
    fn defaults_on_screen(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said: Vec<String> = Vec::new();
        for key in [
            "ordering",
            "concurrency",
            "retry.attempts",
            "retry.initial",
            "retry.max",
        ] {
            let values = self
                .subscriptions
                .iter()
                .filter_map(|subscription| subscription.value(key));
            if let Some(value) = values.into_iter().find(|value| value.origin == Origin::Default) {
                said.push(format!("{key} {}", value.value));
            }
        }
        for (group, start) in [(true, "start earliest"), (false, "without a group start latest")] {
            let mut of_kind = self
                .subscriptions
                .iter()
                .filter(|subscription| subscription.group.is_some() == group);
            if of_kind.any(|subscription| {
                subscription
                    .value("start")
                    .is_some_and(|value| value.origin == Origin::Default)
            }) {
                said.push(start.to_owned());
            }
        }
        if said.is_empty() {
            return Ok(());
        }
        writeln!(f, "  unless said: {} (default)", said.join(", "))
    }
}

/// The lines of a subscription.
struct Lines<'a> {
    subscription: &'a SubscriptionDescription,
    width: usize,
}

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subscription, width } = self;
        let what = if subscription.reads_dead_letters {
            "dead letters of "
        } else {
            ""
        };
        write!(
            f,
            "  {:width$}  {what}{}",
            subscription.name,
            subscription.channels.join(", ")
        )?;
        if let Some(output) = &subscription.output {
            write!(f, " -> {output}")?;
        }
        match &subscription.group {
            Some(group) => write!(
                f,
                "  group {}{}",
                group.value,
                elsewhere(&group.origin, &subscription.place)
            )?,
            None => write!(f, "  no group")?,
        }
        writeln!(f, "  {} at {}", subscription.handler, subscription.place)?;
        let details = self.details();
        if details.is_empty() {
            return Ok(());
        }
        writeln!(f, "  {:width$}  {}", "", details.join("  "))
    }
}

impl Lines<'_> {
    /// What differs from what is usual.
    fn details(&self) -> Vec<String> {
        let subscription = self.subscription;
        let mut details = Vec::new();
        let said: Vec<_> = subscription
            .policy
            .iter()
            .filter(|value| value.origin != Origin::Default)
            .collect();
        if !said.is_empty() {
            details.push(by_origin(said, Some(&subscription.place)));
        }
        if subscription.group.is_some() && subscription.retry.is_empty() {
            details.push("long waits stay in memory: this broker has no retry lane".to_owned());
        }
        let usual = subscription.destinations.iter().map(|name| format!("{name}.DLT"));
        if subscription.dead_letters.is_empty() {
            details.push("dead letters LOST".to_owned());
        } else if !usual.eq(subscription.dead_letters.iter().cloned()) {
            details.push(format!("dead letters {}", subscription.dead_letters.join(", ")));
        }
        details
    }
}

/// `concurrency 8, timeout 10s (code)  retry.attempts 5 (tidings.toml:12)`: values of one origin together. What was
/// said at `place` is just `code`.
fn by_origin<'a>(values: impl IntoIterator<Item = &'a Value>, place: Option<&str>) -> String {
    let mut groups: Vec<(&Origin, Vec<String>)> = Vec::new();
    for value in values {
        let text = format!("{} {}", value.key, value.value);
        match groups.iter_mut().find(|(origin, _)| *origin == &value.origin) {
            Some((_, texts)) => texts.push(text),
            None => groups.push((&value.origin, vec![text])),
        }
    }
    let groups = groups.into_iter().map(|(origin, texts)| {
        let origin = if is_at(origin, place) {
            "code".to_owned()
        } else {
            origin.to_string()
        };
        format!("{} ({origin})", texts.join(", "))
    });
    groups.collect::<Vec<_>>().join("  ")
}

/// Whether something was said at that place in the code.
fn is_at(origin: &Origin, place: Option<&str>) -> bool {
    place.is_some_and(|place| origin.to_string() == format!("code {place}"))
}

/// The origin of a group that was not said where its subscription was made.
fn elsewhere(origin: &Origin, place: &str) -> String {
    if is_at(origin, Some(place)) {
        String::new()
    } else {
        format!(" ({origin})")
    }
}

/// `app.drain_timeout 30s (tidings.toml:12)`
struct Shown<'a>(&'a Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.0.key, self.0.value, self.0.origin)
    }
}
