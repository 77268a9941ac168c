//! The command line. It is small enough to be read without a crate for it, which keeps the first build short.

use shop::load::LoadOptions;
use shop::serve::ServeOptions;
use shop::service::Service;
use std::ffi::OsString;
use std::str::FromStr;

pub(crate) const HELP: &str = "\
A shop of seven services that talk through events.

shop [--data DIR] [--http ADDRESS] [--seed N] [--service NAME]...
    Opens the shop.
    --data DIR        where log and shop.db are [what tidings.toml says, or ./data]
    --http ADDRESS    where it listens          [127.0.0.1:8080]
    --seed N          the moods of the bank     [1]
    --service NAME    only this service; several may be named. The others run elsewhere, on the same broker:
                      TIDINGS_URL=kafka://HOST:PORT. The order service listens, the others do not.
                      There are order, inventory, payment, shipping, billing, notification, analytics.

shop load [--orders N] [--keys N] [--concurrency N] [--poison RATE] [--patience SECONDS] [--url URL]
    Sends orders to an open shop, waits until all have ended, and tells how it went. Exits with 1 if an
    accepted order is lost or did not end as it should.
    --orders N          how many orders         [1000]
    --keys N            of how many customers   [100]
    --concurrency N     how many at once        [64]
    --poison RATE       how many of them have a name that no label printer knows, 0 to 1  [0.01]
    --patience SECONDS  for how long nothing may move before it gives up  [60]
    --url URL           the shop                [http://127.0.0.1:8080]
";

/// What was asked for.
#[derive(Debug)]
pub(crate) enum Args {
    Run(Command),
    Help,
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Command {
    Serve(ServeOptions),
    Load(LoadOptions),
}

/// Reads the command line.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Args, String> {
    let mut words = Words {
        rest: arguments
            .into_iter()
            .map(text)
            .collect::<Result<Vec<_>, _>>()?
            .into_iter(),
    };
    let mut first = words.rest.as_slice().first().map(String::as_str);
    if first == Some("load") {
        words.rest.next();
        return load(words);
    }
    if first == Some("serve") {
        words.rest.next();
        first = None;
    }
    match first {
        Some(word) if !word.starts_with('-') => {
            Err(format!("no command {word:?}; there is `load`, see --help"))
        }
        _ => serve(words),
    }
}

struct Words {
    rest: std::vec::IntoIter<String>,
}

impl Words {
    /// The next option and the value that belongs to it if it was written with `=`.
    fn next(&mut self) -> Option<(String, Option<String>)> {
        let word = self.rest.next()?;
        Some(match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        })
    }

    fn value<T: FromStr>(&mut self, name: &str, given: Option<String>) -> Result<T, String> {
        let value = given
            .or_else(|| self.rest.next())
            .ok_or_else(|| format!("{name} needs a value"))?;
        value
            .parse()
            .map_err(|_| format!("{name} cannot be {value:?}, see --help"))
    }
}

fn text(argument: OsString) -> Result<String, String> {
    argument
        .into_string()
        .map_err(|argument| format!("{argument:?} is not UTF-8"))
}

fn serve(mut words: Words) -> Result<Args, String> {
    let mut options = ServeOptions::default();
    while let Some((name, given)) = words.next() {
        match name.as_str() {
            "--data" => options.data = Some(words.value::<String>(&name, given)?.into()),
            "--http" => options.http = words.value(&name, given)?,
            "--seed" => options.seed = words.value(&name, given)?,
            "--service" => {
                let service = service(&words.value::<String>(&name, given)?)?;
                options.services.insert(service);
            }
            "--help" | "-h" => return Ok(Args::Help),
            _ => {
                let known = "--data, --http, --seed, --service";
                return Err(format!("no option {name:?}; there are {known}"));
            }
        }
    }
    Ok(Args::Run(Command::Serve(options)))
}

fn service(name: &str) -> Result<Service, String> {
    Service::named(name).ok_or_else(|| {
        let known: Vec<_> = Service::ALL.iter().map(|service| service.name()).collect();
        format!("no service {name:?}; there are {}", known.join(", "))
    })
}

fn load(mut words: Words) -> Result<Args, String> {
    let mut options = LoadOptions::default();
    while let Some((name, given)) = words.next() {
        match name.as_str() {
            "--orders" => options.orders = words.value(&name, given)?,
            "--keys" => options.keys = words.value(&name, given)?,
            "--concurrency" => options.concurrency = words.value(&name, given)?,
            "--poison" => options.poison = words.value(&name, given)?,
            "--patience" => options.patience = std::time::Duration::from_secs(words.value(&name, given)?),
            "--url" => options.url = words.value(&name, given)?,
            "--help" | "-h" => return Ok(Args::Help),
            _ => {
                let known = "--orders, --keys, --concurrency, --poison, --patience, --url";
                return Err(format!("no option {name:?}; there are {known}"));
            }
        }
    }
    if options.keys == 0 || options.concurrency == 0 || !(0.0..=1.0).contains(&options.poison) {
        return Err("--keys and --concurrency are at least 1, --poison is from 0 to 1".to_owned());
    }
    Ok(Args::Run(Command::Load(options)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Args, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn both_ways_of_writing_an_option_are_read() {
        for line in [
            "--data /x --http 127.0.0.1:0",
            "serve --http=127.0.0.1:0 --data=/x",
        ] {
            let Ok(Args::Run(Command::Serve(options))) = parsed(line) else {
                panic!("{line}")
            };
            assert_eq!((options.data, options.http.port()), (Some("/x".into()), 0));
        }
        let Ok(Args::Run(Command::Serve(options))) = parsed("--service payment --service=billing") else {
            panic!()
        };
        assert_eq!(
            options.services.into_iter().collect::<Vec<_>>(),
            [Service::Payment, Service::Billing]
        );
        let Ok(Args::Run(Command::Load(options))) = parsed("load --orders 7 --url=http://h:1") else {
            panic!()
        };
        assert_eq!((options.orders, options.url.as_str()), (7, "http://h:1"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, named) in [
            ("--dta /x", "--dta"),
            ("--http nowhere", "nowhere"),
            ("--data", "needs a value"),
            ("sell", "sell"),
            ("--service pay", "order, inventory, payment"),
            ("load --keys 0", "--keys"),
            ("load --poison 2", "--poison"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains(named), "{line}: {error}");
        }
    }
}
