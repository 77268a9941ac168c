use crate::world::{Said, World};
use std::process::Command;

#[test]
fn help_names_every_verb_and_the_exit_codes() {
    let world = World::new();
    let help = world.ok(&["--help"]).out;
    for word in [
        "new",
        "publish",
        "tail",
        "topics",
        "groups",
        "dlq",
        "log",
        "config",
        "describe",
        "Exit codes",
    ] {
        assert!(help.contains(word), "{word}");
    }
    assert!(world.ok(&["--version"]).out.starts_with("tidings "));
    let said = world.say(&["topcs"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("topics"), "{}", said.err);
}

#[test]
fn completions_and_manual_pages_are_made() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(
            world.ok(&["completions", shell]).out.contains("redrive"),
            "{shell}"
        );
    }
    world.ok(&["man", "pages/man1"]);
    for page in ["tidings.1", "tidings-tail.1", "tidings-dlq-redrive.1"] {
        let text = std::fs::read_to_string(world.path().join("pages/man1").join(page)).unwrap();
        assert!(text.contains(".TH"), "{page}");
    }
}

#[test]
fn quiet_says_only_results_and_errors() {
    let world = World::new();
    world.ok(&["publish", "orders", "x", "--create", "1"]);
    assert_eq!(world.ok(&["groups", "--quiet"]).err, "");
    assert!(
        world
            .say(&["topics", "nothing-like-it", "--quiet"])
            .err
            .starts_with("error: ")
    );
}

/// What a person sees: `script` runs a command on a terminal of its own.
#[test]
fn a_terminal_gets_a_table_with_a_bold_head_unless_it_wants_no_colours() {
    if Command::new("script").arg("--version").output().is_err() {
        println!("SKIPPED a_terminal_gets_a_table: the program `script` (util-linux) is not installed");
        return;
    }
    let world = World::new();
    world.ok(&["publish", "orders", "x", "--create", "1"]);
    let on_terminal = |variable: (&str, &str)| {
        let mut script = Command::new("script");
        let command = format!("'{}' topics", env!("CARGO_BIN_EXE_tidings"));
        script
            .args(["-qec", &command, "/dev/null"])
            .current_dir(world.path())
            .env("TERM", "xterm");
        script
            .env_remove("NO_COLOR")
            .env(variable.0, variable.1)
            .env_remove("TIDINGS_URL");
        let said = Said::of(script.stdin(std::process::Stdio::null()).output().unwrap());
        assert_eq!(said.code, 0, "{said:?}");
        said.out
    };
    let table = on_terminal(("TERM", "xterm"));
    assert!(
        table.contains("\u{1b}[1mTOPIC") && table.contains("orders"),
        "{table:?}"
    );
    let plain = on_terminal(("NO_COLOR", "1"));
    assert!(!plain.contains('\u{1b}') && plain.contains("TOPIC"), "{plain:?}");
}

/// A person is asked before something is lost, and a no changes nothing.
#[tokio::test]
async fn a_person_is_asked_before_letters_are_discarded() {
    if Command::new("script").arg("--version").output().is_err() {
        println!("SKIPPED a_person_is_asked: the program `script` (util-linux) is not installed");
        return;
    }
    let world = crate::service::left_behind(&[("ada", "bad card")], 1).await;
    let answer = |answer: &str| {
        let mut script = Command::new("sh");
        let program = env!("CARGO_BIN_EXE_tidings");
        let typed = format!("echo {answer} | script -qec \"'{program}' dlq discard\" /dev/null");
        script
            .arg("-c")
            .arg(typed)
            .current_dir(world.path())
            .env("TERM", "dumb");
        script.env_remove("TIDINGS_URL");
        Said::of(script.output().unwrap())
    };
    let said = answer("n");
    assert_eq!(said.code, 4, "{said:?}");
    assert!(
        said.out
            .contains("This will discard 1 dead letters for good. Go on? [y/N]"),
        "{said:?}"
    );
    assert!(said.out.contains("you said no; nothing was changed"), "{said:?}");
    assert_eq!(world.ok(&["dlq", "ls"]).rows().len(), 1);
    assert_eq!(answer("yes").code, 0);
    assert!(world.ok(&["dlq", "ls"]).rows().is_empty());
}
