use super::*;
use std::io::Write as _;

/// The problems of a configuration that is `text` alone, as they are shown, without the folder of the file.
fn problems(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let (sources, _folder) = sources(text, environment);
    let prefix = format!("{}/", sources.file.as_ref().unwrap().parent().unwrap().display());
    match Config::load(&sources) {
        Ok(_) => Vec::new(),
        Err(error) => error.to_string().lines().map(|line| line.replace(&prefix, "")).collect(),
    }
}

fn load(text: &str, environment: &[(&str, &str)]) -> Config {
    Config::load(&sources(text, environment).0).unwrap()
}

fn sources(text: &str, environment: &[(&str, &str)]) -> (Sources, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my.toml");
    std::fs::File::create(&file).unwrap().write_all(text.as_bytes()).unwrap();
    std::fs::write(folder.path().join("token"), "from-file\n").unwrap();
    let environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    (Sources { file: Some(file), environment, flags: Vec::new() }, folder)
}

#[test]
fn a_bad_file_is_refused_with_position_and_suggestion() {
    let table: &[(&str, &str)] = &[
        (
            "[calls]\nmax_call = 3\n",
            "my.toml:2:1: error: calls.max_call: unknown key \"max_call\" in [calls]; did you mean \"max_calls\"?",
        ),
        (
            "[publik]\nbind = \"\"\n",
            "my.toml:1:2: error: publik: unknown key \"publik\" at the top level; did you mean \"public\"?",
        ),
        ("zzz = 1\n", "my.toml:1:1: error: zzz: unknown key \"zzz\" at the top level"),
        ("calls = 3\n", "my.toml:1:9: error: calls: expected a section, [calls], got an integer"),
        (
            "[calls]\n\n  idle_timeout = 60\n",
            "my.toml:3:18: error: calls.idle_timeout: expected a text, got an integer; write it in quotes",
        ),
        (
            "[calls]\nidle_timeout = \"60\"\n",
            "my.toml:2:16: error: calls.idle_timeout: expected a duration such as \"250ms\", \"10s\", \"5m\", \"4h\" \
             or \"30d\"; 60 has no unit",
        ),
        (
            "[calls]\nmax_duration = \"2d\"\n",
            "my.toml:2:16: error: calls.max_duration: expected a duration from \"1s\" to \"1d\", got \"2d\"",
        ),
        (
            "[calls]\nmax_calls = 0\n",
            "my.toml:2:13: error: calls.max_calls: expected a whole number from 1 to 1000000, got 0",
        ),
        (
            "[control]\ntokens = [{ token = \"x\", role = \"admn\" }]\n",
            "my.toml:2:33: error: control.tokens[0].role: expected one of \"read\", \"operate\", \"admin\", got \
             \"admn\"; did you mean \"admin\"?",
        ),
        (
            "[control]\ntokens = [{ tokn = \"x\", token = \"y\", role = \"read\" }]\n",
            "my.toml:2:13: error: control.tokens[0].tokn: unknown key \"tokn\"; did you mean \"token\"?",
        ),
        ("[[control.tokens]]\nrole = \"read\"\n", "my.toml:2:1: error: control.tokens[0]: has no \"token\""),
        (
            "[control]\ntokens = [\"x\"]\n",
            "my.toml:2:11: error: control.tokens[0]: expected a table { token = …, role = … }, got a text",
        ),
        (
            "[twilio]\nauth_tokens = \"x\"\n",
            "my.toml:2:15: error: twilio.auth_tokens: expected a list, [ … ], got a text",
        ),
        ("[twilio]\nauth_tokens = [\"\"]\n", "my.toml:2:16: error: twilio.auth_tokens[0]: is empty"),
        (
            "[openai]\napi_key = \"${env:NO_SUCH}\"\n",
            "my.toml:2:11: error: openai.api_key: the environment has no variable NO_SUCH, which ${env:NO_SUCH} asks for",
        ),
        (
            "[openai]\napi_key = \"${vault:x}\"\n",
            "my.toml:2:11: error: openai.api_key: expected ${env:NAME} or ${file:PATH}, got ${vault:x}; a literal \
             \"${\" is written \"$${\"",
        ),
        (
            "[journal]\nkind = \"disk\"\n",
            "my.toml:2:8: error: journal.kind: expected \"sqlite\", \"sled\" or \"memory\", got \"disk\"",
        ),
        (
            "[flows]\ntimezone = \"Mars/Olympus\"\n",
            "my.toml:2:12: error: flows.timezone: expected an IANA time zone such as \"Europe/Berlin\", got \
             \"Mars/Olympus\"",
        ),
        (
            "[public]\nbind = \"0.0.0.0:8080\"\n",
            "my.toml:2:8: error: public.bind: refusing to serve unsigned requests on 0.0.0.0:8080: anyone who reaches \
             that address could place calls into your workflows. Set [twilio] auth_tokens so that signatures can be \
             checked, or bind to 127.0.0.1, or accept the risk with [public] insecure_no_signatures = true",
        ),
        (
            "[control]\nbind = \"[::]:8081\"\n",
            "my.toml:2:8: error: control.bind: refusing to serve the control API on [::]:8081 without tokens: it can \
             hang up calls and change workflows. Set [control] tokens, or bind to 127.0.0.1",
        ),
        (
            "[twilio]\napi_key = \"SK1\"\n",
            "my.toml:2:11: error: twilio.api_key: api_key and api_secret only work together",
        ),
        ("[speech]\nvoice = \"command\"\n", "my.toml:2:9: error: speech.voice: needs [speech] command"),
        (
            "[log]\nlevel = \"verbose\"\n",
            "my.toml:2:9: error: log.level: expected \"error\", \"warn\", \"info\", \"debug\", \"trace\" or filters such \
             as \"info,holdline=debug\", got \"verbose\"",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(problems(text, &[]), [*expected], "{text}");
    }
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let text = "[media]\nlead = \"1h\"\n[calls]\nmax_calls = \"many\"\nmax_duraton = \"1h\"\n";
    let environment = [("HOLDLINE__CALLS__IDLE_TIMOUT", "9s"), ("HOLDLINE__LOG__NUMBERS", "none")];
    let told = problems(text, &environment);
    let places: Vec<&str> = told.iter().map(|line| line.split(": error").next().unwrap()).collect();
    assert_eq!(
        places,
        [
            "my.toml:2:8",
            "my.toml:4:13",
            "my.toml:5:1",
            "HOLDLINE__CALLS__IDLE_TIMOUT",
            "HOLDLINE__LOG__NUMBERS"
        ],
        "{told:#?}"
    );
    assert!(told[3].ends_with("did you mean \"HOLDLINE__CALLS__IDLE_TIMEOUT\"?"), "{}", told[3]);
}

#[test]
fn a_file_that_is_not_toml_says_where() {
    let told = problems("[calls]\nmax_calls = = 3\n", &[]);
    assert!(told[0].starts_with("my.toml:2:13: error: not valid TOML: "), "{told:?}");
    let missing = Sources { file: Some("no/such.toml".into()), ..Sources::default() };
    let error = Config::load(&missing).unwrap_err();
    assert_eq!(error.problems[0].code, "unreadable");
}

#[test]
fn every_documented_setting_is_really_read() {
    // No setting is a date, so each one that is read must complain about this one.
    let (defaults, _) = layer::defaults();
    let mut settings = Vec::new();
    for entry in &defaults.entries {
        match &entry.node.value {
            tree::Value::Table(section) => {
                settings.extend(
                    section.keys().map(|key| (format!("{}.{key}", entry.key), entry.key.as_str(), key)),
                );
            }
            _ => settings.push((entry.key.clone(), "", entry.key.as_str())),
        }
    }
    assert!(settings.len() > 60, "{}", settings.len());
    for (path, section, key) in settings {
        let head = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
        let told = problems(&format!("{head}{key} = 1979-05-27\n"), &[]);
        assert!(told.iter().any(|line| line.contains(&format!(": {path}: expected "))), "{path}: {told:?}");
    }
}

#[test]
fn the_environment_stands_over_the_file_and_flags_over_both() {
    let (mut sources, folder) = sources(
        "[flows]\ndir = \"a\"\n[journal]\npath = \"b\"\n[calls]\nmax_calls = 5\n",
        &[
            ("HOLDLINE__CALLS__MAX_CALLS", "7"),
            ("HOLDLINE__HTTP__ALLOW_HOSTS", "[\"127.0.0.1\"]"),
            ("HOLDLINE__DEFAULT_WORKFLOW", "menu"),
            ("HOLDLINE__TWILIO__AUTH_TOKENS", "[\"t\"]"),
            ("HOLDLINE__OPENAI__API_KEY", "123456"),
            ("HOLDLINE__SECRETS__CRM", "s3"),
            ("HOLDLINE_OTHER", "ignored"),
        ],
    );
    sources.flags.push(Flag { name: "--data", section: "journal", key: "path", value: "/var/x".to_owned() });
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.calls.max_calls, 7);
    assert_eq!(config.http.allow_hosts.len(), 1);
    assert_eq!(config.default_workflow.unwrap().0, "menu");
    assert_eq!(config.openai.api_key.expose(), "123456", "a text that looks like a number stays a text");
    assert_eq!(config.secrets["CRM"].expose(), "s3");
    assert_eq!(config.flows.dir, folder.path().join("a"), "paths of the file start at its folder");
    assert_eq!(config.journal.path, Path::new("/var/x"));
}

#[test]
fn a_number_to_call_from_is_shown_as_the_environment_has_it() {
    let (sources, _folder) = sources("", &[("HOLDLINE__TWILIO__FROM", "+15550100")]);
    let shown = Config::effective(&sources).unwrap();
    assert!(shown.contains("\nfrom = \"+15550100\"  # HOLDLINE__TWILIO__FROM\n"), "{shown}");
}

#[test]
fn an_empty_bind_opens_up_only_when_signatures_can_be_checked() {
    assert_eq!(Config::default().public.bind.to_string(), "127.0.0.1:8080");
    assert!(Config::default().public.bare_streams);
    let signed = load("[twilio]\nauth_tokens = [\"t\"]\n", &[]);
    assert_eq!(signed.public.bind.to_string(), "0.0.0.0:8080");
    assert!(!signed.public.bare_streams);
    let insecure = load("[public]\nbind = \"0.0.0.0:80\"\ninsecure_no_signatures = true\n", &[]);
    assert_eq!(insecure.public.bind.to_string(), "0.0.0.0:80");
}

#[test]
fn references_are_filled_in_and_never_shown() {
    let text = "[secrets]\ncrm = \"${env:CRM}\"\nlit = \"$${env:CRM}\"\n[openai]\napi_key = \"a-${file:token}-z\"\n\
                [control]\ntokens = [{ token = \"${env:CRM}\", role = \"admin\" }]\n\
                [smtp]\nurl = \"smtp://u:${env:CRM}@m\"\n[public]\nurl = \"https://v.example/\"\n";
    let (sources, _folder) = sources(text, &[("CRM", "hidden-word")]);
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.secrets["crm"].expose(), "hidden-word");
    assert_eq!(config.secrets["lit"].expose(), "${env:CRM}");
    assert_eq!(config.openai.api_key.expose(), "a-from-file-z");
    assert_eq!(config.public.url, PublicUrl::Origin("https://v.example".to_owned()));
    let shown = Config::effective(&sources).unwrap();
    for text in [format!("{config:?}"), shown.clone()] {
        assert!(!text.contains("hidden-word") && !text.contains("from-file"), "{text}");
    }
    assert!(shown.contains("tokens = [{ token = \"***\", role = \"admin\" }]  # "), "{shown}");
    assert!(shown.contains("crm = \"***\""), "{shown}");
    assert!(shown.contains("api_secret = \"\"\n"), "an absent secret is seen to be absent: {shown}");
}

#[test]
fn the_effective_configuration_can_be_read_again() {
    let empty = Sources::default();
    let shown = Config::effective(&empty).unwrap();
    assert_eq!(load(&shown, &[]).calls, Config::default().calls);
    assert_eq!(load("", &[]).limits, Limits::default(), "the file and the core agree on every bound");
}
