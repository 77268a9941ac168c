//! The project's configuration: the only file that calls `tidings-config`.

use crate::args::Global;
use crate::error::CliError;
use crate::names::unknown;
use tidings_config::{
    BinderConfig, BinderUrl, Config, ConfigBuilder, ConfigError, Origin, RabbitmqChannelConfig, Section,
    nearest, records,
};

/// The binder that is meant if nobody names one.
const MAIN: &str = "main";
/// Where messages lie if nobody says anything.
const DEFAULT_URL: &str = "embedded:./data";

/// The project's configuration, read.
#[derive(Debug)]
pub(crate) struct Project {
    config: Config,
    /// Sections of the program's own.
    pub(crate) own_sections: Vec<String>,
}

/// A channel and where it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChannelPlace {
    /// The name in code.
    pub(crate) channel: String,
    /// The topic.
    pub(crate) destination: String,
    /// The binder that has it.
    pub(crate) binder: String,
}

/// A key with its effective value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EffectiveKey {
    /// The key.
    pub(crate) key: String,
    /// The value, without secrets.
    pub(crate) value: String,
    /// Where it comes from.
    pub(crate) origin: String,
    /// Whether somebody set it.
    pub(crate) changed: bool,
}

impl Project {
    /// Reads what the command line names, or what the app would read here.
    ///
    /// Only the program knows which sections are its own. One that is far from every known name is taken for one of
    /// those; one that is near is the typing mistake that it looks like.
    pub(crate) fn load(global: &Global) -> Result<Self, CliError> {
        let mut own_sections = Vec::new();
        loop {
            match builder(global, &own_sections).load() {
                Ok(config) => return Ok(Self { config, own_sections }),
                Err(error) => {
                    let found = own(&error, &own_sections);
                    if found.is_empty() {
                        return Err(error.into());
                    }
                    own_sections.extend(found);
                }
            }
        }
    }

    /// The address of a binder.
    pub(crate) fn url(&self, binder: &str) -> Result<(BinderUrl, String), CliError> {
        match self.config.binder(binder).url {
            Some(url) => Ok((url.value, url.origin.to_string())),
            None if binder == MAIN => Ok((parse_url(DEFAULT_URL)?, "default".to_owned())),
            None => {
                let known = self.config.names(Section::Binder);
                let known = known.iter().map(|name| name.value.as_str()).chain([MAIN]);
                Err(unknown("binder", binder, "in the configuration", known))
            }
        }
    }

    /// What is said of a binder besides.
    pub(crate) fn settings(&self, binder: &str) -> BinderConfig {
        self.config.binder(binder)
    }

    /// The binder of a channel; `main` for every other name.
    pub(crate) fn binder_of(&self, name: Option<&str>) -> String {
        let channels = self.channels();
        let channel = channels
            .iter()
            .find(|channel| Some(channel.channel.as_str()) == name);
        channel.map_or_else(|| MAIN.to_owned(), |channel| channel.binder.clone())
    }

    /// The channels that the configuration speaks of.
    pub(crate) fn channels(&self) -> Vec<ChannelPlace> {
        let names = self.config.names(Section::Channel);
        let places = names.into_iter().map(|name| {
            let channel = self.config.channel(&name.value);
            ChannelPlace {
                destination: channel
                    .destination
                    .map_or_else(|| name.value.clone(), |set| set.value),
                binder: channel.binder.map_or_else(|| MAIN.to_owned(), |set| set.value),
                channel: name.value,
            }
        });
        places.collect()
    }

    /// What the destinations of a binder are there, if it is a RabbitMQ.
    pub(crate) fn on_rabbitmq(&self, binder: &str) -> Vec<(String, RabbitmqChannelConfig)> {
        let channels = self.channels().into_iter();
        let here = channels.filter(|channel| channel.binder == binder);
        here.map(|channel| {
            let said = self.config.channel(&channel.channel).rabbitmq;
            (channel.destination, said)
        })
        .collect()
    }

    /// Where subscriptions put their dead letters, where the configuration says so; may have `{destination}` and
    /// `{group}` in it.
    pub(crate) fn dead_letters(&self) -> Vec<String> {
        let names = self.config.names(Section::Subscription);
        let set = names
            .into_iter()
            .filter_map(|name| self.config.subscription(&name.value).dead_letter);
        set.map(|set| set.value).collect()
    }

    /// The groups that subscriptions are given, sorted.
    pub(crate) fn groups(&self) -> Vec<String> {
        let names = self.config.names(Section::Subscription);
        let set = names
            .into_iter()
            .filter_map(|name| self.config.subscription(&name.value).group);
        let groups: std::collections::BTreeSet<_> = set.map(|set| set.value).collect();
        groups.into_iter().collect()
    }

    /// Every key that applies, with its value: those that somebody set, and the defaults of the others. A default that
    /// code may have changed is still shown as the default: only the running app knows its code.
    pub(crate) fn effective(&self) -> Vec<EffectiveKey> {
        let main_url = format!("binder.{MAIN}.url");
        let values = self.config.effective(&[]);
        let all = values.iter().map(|one| {
            let changed = !matches!(one.origin, Origin::Default);
            // The record speaks of all binders at once.
            let is_ours = !changed && one.key == main_url;
            EffectiveKey {
                key: one.key.clone(),
                value: if is_ours { DEFAULT_URL } else { &one.value }.to_owned(),
                origin: one.origin.to_string(),
                changed,
            }
        });
        let mut all: Vec<_> = all.filter(|key| key.changed || key.value != "empty").collect();
        all.sort_by(|one, other| one.key.cmp(&other.key));
        all
    }
}

/// Takes text as a broker's address.
pub(crate) fn parse_url(text: &str) -> Result<BinderUrl, CliError> {
    BinderUrl::parse(text).ok_or_else(|| {
        CliError::usage(
            format!("{text:?} is no address of a broker"),
            "write embedded:DIRECTORY, kafka://HOST:PORT or amqp://USER:PASSWORD@HOST/VHOST, for example --url embedded:./data",
        )
    })
}

/// The reference of every key, in Markdown.
pub(crate) fn reference() -> String {
    tidings_config::reference_markdown()
}

/// What editors check and complete `tidings.toml` with.
pub(crate) fn schema() -> String {
    tidings_config::json_schema()
}

fn builder(global: &Global, own_sections: &[String]) -> ConfigBuilder {
    let mut builder = Config::builder();
    if let Some(file) = &global.config {
        builder = builder.file(file);
    }
    if let Some(profile) = &global.profile {
        builder = builder.profile(profile);
    }
    own_sections
        .iter()
        .fold(builder, |builder, section| builder.allow_section(section))
}

/// The sections that are most likely the program's own, among what an error complains about.
fn own(error: &ConfigError, known: &[String]) -> Vec<String> {
    let errors = match error {
        ConfigError::Several { errors } => errors.iter().collect(),
        one => vec![one],
    };
    let mut found = Vec::new();
    for error in errors {
        let ConfigError::UnknownKey { key, .. } = error else {
            continue;
        };
        let section = key
            .split('.')
            .next()
            .unwrap_or_default()
            .trim_matches('"')
            .to_owned();
        let ours = records()
            .iter()
            .filter_map(|record| record.path.split('.').next());
        let plain = !section.is_empty() && !known.contains(&section) && !found.contains(&section);
        if plain && nearest(&section, ours).is_none() {
            found.push(section);
        }
    }
    found
}
