//! Settings: flag before environment before file before default.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args, Subcommand, parser::ValueSource};
use serde::Deserialize;
use serde_json::json;

use crate::{
    cli::{ColorChoice, Globals},
    context::Context,
    failure::{Exit, Failure},
    label::DEFAULT_SUFFIX,
    output::table,
    text,
};

/// Longest settings file read.
const MAX_FILE_BYTES: usize = 1 << 16;
/// Keys of the file, for suggestions.
const KEYS: [&str; 7] = ["node", "token_file", "network", "keys", "passphrase_file", "color", "suffix"];

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show every setting
    Show(ShowArgs),
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Say where each value comes from
    #[arg(long)]
    origin: bool,
}

/// The file's content.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSettings {
    node: Option<String>,
    token_file: Option<PathBuf>,
    network: Option<String>,
    keys: Option<PathBuf>,
    passphrase_file: Option<PathBuf>,
    color: Option<String>,
    suffix: Option<String>,
}

/// One setting as it stands.
#[derive(Clone, Debug)]
pub struct Setting {
    pub name: &'static str,
    pub value: String,
    pub origin: &'static str,
}

/// All settings as they stand.
#[derive(Clone, Debug)]
pub struct Settings {
    pub globals: Globals,
    pub suffix: String,
    pub color: ColorChoice,
    pub list: Vec<Setting>,
}

impl Settings {
    /// Fills what flags and environment left open from the file and the defaults.
    pub fn resolve(globals: &Globals, matches: &ArgMatches) -> Result<Self, Failure> {
        let path = globals
            .config
            .clone()
            .or_else(|| user_folder("XDG_CONFIG_HOME", ".config").map(|d| d.join("namectl.toml")));
        let file = match &path {
            Some(path) if globals.config.is_some() || path.exists() => read(path)?,
            _ => FileSettings::default(),
        };
        let mut globals = globals.clone();
        let mut list = Vec::new();
        let mut note = |name: &'static str, value: Option<String>, from_file: bool| {
            let origin = match matches.try_get_raw(name).ok().flatten().and_then(|_| matches.value_source(name)) {
                Some(ValueSource::CommandLine) => "flag",
                Some(ValueSource::EnvVariable) => "environment",
                _ if from_file => "file",
                _ => "default",
            };
            list.push(Setting { name, value: value.unwrap_or_else(|| "-".into()), origin });
        };
        let color = file_color(file.color.as_deref())?;
        let wallet_env = std::env::var_os("NAMECTL_WALLET").map(PathBuf::from);
        note("node", globals.node.clone().or_else(|| file.node.clone()), file.node.is_some());
        note(
            "network",
            globals.network.clone().or_else(|| file.network.clone()).or(Some("main".into())),
            file.network.is_some(),
        );
        globals.network = globals.network.or(file.network).or(Some("main".into()));
        globals.node = globals.node.or(file.node);
        let keys_from_file = file.keys.is_some();
        globals.keys = globals.keys.or(wallet_env).or(file.keys).or_else(default_keys);
        note("keys", globals.keys.as_ref().map(|path| path.display().to_string()), keys_from_file);
        let from_file = (file.token_file.is_some(), file.passphrase_file.is_some());
        globals.token_file = globals.token_file.or(file.token_file);
        note("token_file", globals.token_file.as_ref().map(|path| path.display().to_string()), from_file.0);
        globals.passphrase_file = globals.passphrase_file.or(file.passphrase_file);
        note("passphrase_file", globals.passphrase_file.as_ref().map(|path| path.display().to_string()), from_file.1);
        let choice = globals.color.or(color).unwrap_or_default();
        note("color", Some(format!("{choice:?}").to_lowercase()), color.is_some());
        note("timeout", globals.timeout.map(|time| format!("{}s", time.as_secs())), false);
        note("config", path.map(|path| path.display().to_string()), false);
        let suffix_from_file = file.suffix.is_some();
        let suffix = file.suffix.unwrap_or_else(|| DEFAULT_SUFFIX.to_owned()).trim_matches('.').to_lowercase();
        list.push(Setting {
            name: "suffix",
            value: suffix.clone(),
            origin: if suffix_from_file { "file" } else { "default" },
        });
        Ok(Self { globals, suffix, color: choice, list })
    }
}

/// `config show`.
pub fn run(context: &Context, command: &ConfigCommand) -> Result<(), Failure> {
    let ConfigCommand::Show(args) = command;
    let settings = &context.settings;
    let object: serde_json::Map<_, _> = settings
        .iter()
        .map(|s| {
            (
                s.name.to_owned(),
                if args.origin { json!({ "value": s.value, "origin": s.origin }) } else { json!(s.value) },
            )
        })
        .collect();
    context.out.result(&json!({ "settings": object }), || {
        let row = |s: &Setting| {
            let mut row = vec![s.name.to_owned(), s.value.clone()];
            row.extend(args.origin.then(|| s.origin.to_owned()));
            row
        };
        table(&settings.iter().map(row).collect::<Vec<_>>())
    });
    Ok(())
}

fn read(path: &Path) -> Result<FileSettings, Failure> {
    let shown = path.display().to_string();
    let text = text::read(path, MAX_FILE_BYTES)?;
    toml::from_str(&text).map_err(|error| {
        let message = error.message().to_owned();
        let unknown = message.split('`').nth(1).unwrap_or_default();
        let near = KEYS.into_iter().find(|key| strsim::damerau_levenshtein(key, unknown) <= 2);
        let failure = Failure::new(Exit::Usage, "bad_config", format!("{shown}: {message}"))
            .why("a setting that is not understood would be ignored silently");
        match near {
            Some(key) => failure.fix(format!("did you mean {key}?")),
            None => failure.fix(format!("known settings: {}", KEYS.join(" "))),
        }
    })
}

fn file_color(text: Option<&str>) -> Result<Option<ColorChoice>, Failure> {
    match text {
        None => Ok(None),
        Some("auto") => Ok(Some(ColorChoice::Auto)),
        Some("always") => Ok(Some(ColorChoice::Always)),
        Some("never") => Ok(Some(ColorChoice::Never)),
        Some(other) => Err(Failure::new(Exit::Usage, "bad_config", format!("color = {other:?} is unknown"))
            .fix("auto, always or never")),
    }
}

fn default_keys() -> Option<PathBuf> {
    user_folder("XDG_DATA_HOME", ".local/share").map(|folder| folder.join("keys.nsk"))
}

/// This program's folder in one of the user's folders (XDG base directories).
pub fn user_folder(variable: &str, below_home: &str) -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = set(variable).or_else(|| set("HOME").map(|home| home.join(below_home)))?;
    Some(base.join("namestead"))
}
