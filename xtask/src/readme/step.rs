//! What each command of a README block means to the checker.

use crate::COMMANDS;
use crate::http::Request;

/// The address that the README writes; the checker puts the real one in its place.
const WRITTEN_ADDRESSES: &[&str] = &["localhost:8080", "127.0.0.1:8080"];
/// Options of the shop that the checker sets itself, each with a value.
const PLACES: &[&str] = &["--data", "--http"];

/// A command that the checker knows how to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Starts the shop with these arguments; the places it uses are removed from them.
    Start(Vec<String>),
    /// Runs a subcommand of the shop, such as `load`, beside the running one.
    Beside(Vec<String>),
    /// A request to the running shop, its address as written.
    Request(Request),
    /// Exists, and is not run: a command of this program or a cargo command on one of our packages.
    Known,
}

/// Reads one command, or says why it cannot be true.
pub(crate) fn understand(words: &[String], packages: &[String]) -> Result<Step, String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["cargo", "xtask", name, ..] => xtask(name),
        ["cargo", "run", rest @ ..] => cargo_run(rest, packages),
        ["cargo", "build" | "test" | "doc" | "bench" | "check", rest @ ..] => {
            package_of(rest, packages).map(|_| Step::Known)
        }
        ["curl", rest @ ..] => curl(rest).map(Step::Request),
        other => Err(format!(
            "the check does not know `{}`; mark the block `<!-- check: skip, <reason> -->`",
            other.join(" ")
        )),
    }
}

/// The word with the written address replaced by the real one.
pub(crate) fn with_address(word: &str, address: &str) -> String {
    let mut word = word.to_owned();
    for written in WRITTEN_ADDRESSES {
        word = word.replace(written, address);
    }
    word
}

fn xtask(name: &str) -> Result<Step, String> {
    if COMMANDS.iter().any(|command| command.name == name) {
        return Ok(Step::Known);
    }
    let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    Err(format!(
        "no `cargo xtask {name}`; there are [{}]",
        names.join(", ")
    ))
}

fn cargo_run(words: &[&str], packages: &[String]) -> Result<Step, String> {
    let mut parts = words.splitn(2, |word| *word == "--");
    let for_cargo = parts.next().unwrap_or_default();
    let for_program = parts.next().unwrap_or_default();
    if package_of(for_cargo, packages)? != Some("shop") {
        return Ok(Step::Known);
    }
    let subcommand = for_program.first().is_some_and(|first| !first.starts_with('-'));
    if subcommand {
        return Ok(Step::Beside(
            for_program.iter().map(|word| (*word).to_owned()).collect(),
        ));
    }
    Ok(Step::Start(without_places(for_program)))
}

/// The package that `-p` names, which must be one of ours.
fn package_of<'a>(words: &[&'a str], packages: &[String]) -> Result<Option<&'a str>, String> {
    let option = words.iter().position(|word| matches!(*word, "-p" | "--package"));
    let Some(option) = option else {
        return Ok(None);
    };
    let name = words.get(option + 1).copied().ok_or("`-p` without a package")?;
    if packages.iter().any(|package| package == name) {
        return Ok(Some(name));
    }
    Err(format!(
        "no package \"{name}\" in this workspace; there are [{}]",
        packages.join(", ")
    ))
}

fn without_places(arguments: &[&str]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if PLACES.contains(word) {
            words.next();
        } else {
            kept.push((*word).to_owned());
        }
    }
    kept
}

/// The options of curl that a quick start needs: `-i -s -S -v -N -f -X -H -d` and their long names.
fn curl(words: &[&str]) -> Result<Request, String> {
    let mut request = Request::get("", "");
    let mut method = None;
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .map(str::to_owned)
                .ok_or(format!("curl: {word} without a value"))
        };
        match word {
            "-X" | "--request" => method = Some(value()?),
            "-H" | "--header" => request.headers.push(value()?),
            "-d" | "--data" | "--json" => request.body = value()?,
            "--include" | "--silent" | "--no-buffer" | "--fail" => {}
            flags if flags.starts_with('-') && !flags.starts_with("--") && is_plain_flags(flags) => {}
            option if option.starts_with('-') => {
                return Err(format!("curl: the check does not know the option {option}"));
            }
            url => (request.address, request.path) = split_url(url),
        }
    }
    if request.address.is_empty() {
        return Err("curl without an address".into());
    }
    let by_body = if request.body.is_empty() { "GET" } else { "POST" };
    request.method = method.unwrap_or_else(|| by_body.to_owned());
    Ok(request)
}

fn is_plain_flags(flags: &str) -> bool {
    flags.chars().skip(1).all(|flag| "isSvNf".contains(flag))
}

fn split_url(url: &str) -> (String, String) {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    match rest.find('/') {
        Some(slash) => (rest[..slash].to_owned(), rest[slash..].to_owned()),
        None => (rest.to_owned(), "/".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readme::shell;

    fn read(command: &str) -> Result<Step, String> {
        let packages = ["shop".to_owned(), "bench".to_owned()];
        understand(&shell::commands(command).unwrap()[0].words, &packages)
    }

    fn owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_shop_is_started_without_the_places_that_the_check_chooses() {
        for (command, expected) in [
            ("cargo run --release -p shop", &[][..]),
            (
                "cargo run --release -p shop -- --data d --seed 3 --http a:1",
                &["--seed", "3"][..],
            ),
        ] {
            assert_eq!(read(command), Ok(Step::Start(owned(expected))));
        }
    }

    #[test]
    fn a_subcommand_of_the_shop_runs_beside_it() {
        let step = read("cargo run --release -p shop -- load --orders 10").unwrap();
        assert_eq!(step, Step::Beside(owned(&["load", "--orders", "10"])));
    }

    #[test]
    fn a_curl_line_becomes_the_same_request() {
        let step = read("curl -i -X PUT http://localhost:8080/orders?x=1 -H 'a: b' -d '{}'").unwrap();
        let Step::Request(request) = step else {
            panic!("{step:?}");
        };
        assert_eq!(request.title(), "PUT /orders?x=1");
        assert_eq!(
            (request.address.as_str(), request.body.as_str()),
            ("localhost:8080", "{}")
        );
        assert_eq!(request.headers, ["a: b"]);
        for (command, title) in [
            ("curl -sS localhost:8080", "GET /"),
            ("curl -d x localhost:8080/o", "POST /o"),
        ] {
            let step = read(command).unwrap();
            assert!(
                matches!(&step, Step::Request(request) if request.title() == title),
                "{step:?}"
            );
        }
    }

    #[test]
    fn commands_of_this_workspace_are_known_and_others_are_refused() {
        for command in [
            "cargo xtask test -- x",
            "cargo test -p bench",
            "cargo build --release",
            "cargo run -p bench",
        ] {
            assert_eq!(read(command), Ok(Step::Known), "{command}");
        }
        for (command, problem) in [
            ("cargo xtask tset", "no `cargo xtask tset`; there are [test, lint"),
            (
                "cargo run -p shops",
                "no package \"shops\" in this workspace; there are [shop, bench]",
            ),
            ("rm -rf data", "the check does not know `rm -rf data`"),
            (
                "curl -o file localhost:8080",
                "curl: the check does not know the option -o",
            ),
            ("curl -i", "curl without an address"),
        ] {
            let error = read(command).unwrap_err();
            assert!(error.starts_with(problem), "{command}: {error}");
        }
    }

    #[test]
    fn the_written_address_gives_way_to_the_real_one() {
        assert_eq!(
            with_address("http://localhost:8080/x", "127.0.0.1:9"),
            "http://127.0.0.1:9/x"
        );
        assert_eq!(with_address("--orders", "127.0.0.1:9"), "--orders");
    }
}
