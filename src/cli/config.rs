//! `lucid config`: what is set and where, read from the same three layers as the daemon reads, without it.

use super::context::Context;
use super::failure::{Exit, Failure};
use super::grid::{Cell, Grid};
use super::look::{Look, Tone};
use super::refusal;
use crate::api::wire;
use crate::config::{self, Config, ConfigErrors, Origin, Setting, Sources};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Every key with its value and source, defaults too
    #[arg(long)]
    effective: bool,
}

/// # Errors
/// No configuration, or one that is refused.
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let config = load(context)?;
    startable(&config)?;
    refusal::warn(context, &config);
    let wanted = |setting: &&Setting| args.effective || setting.source != Origin::Default;
    let settings: Vec<&Setting> = config.effective().iter().filter(wanted).collect();
    if context.globals.json {
        let document = serde_json::to_vec(&document(&settings))
            .map_err(|error| anyhow::anyhow!("cannot write the document: {error}"))?;
        context.print_json(&document)?;
    } else {
        context.print(&render(&settings, &context.look()))?;
        if !args.effective {
            context.note("lucid: only what is set; --effective shows the defaults too");
        }
    }
    Ok(Exit::Done)
}

/// The configuration as the daemon would read it.
///
/// # Errors
/// No configuration, or one that is refused.
pub fn load(context: &Context) -> Result<Config, Failure> {
    config::load(&sources(context)?).map_err(refused)
}

/// # Errors
/// What keeps the daemon from starting with it.
pub fn startable(config: &Config) -> Result<(), Failure> {
    config::bars(config).map_err(refused)
}

/// As [`load`]; without a file, the defaults from the current folder on.
///
/// # Errors
/// A configuration that is refused.
pub fn load_or_defaults(context: &Context) -> Result<Config, Failure> {
    let sources = sources(context)?;
    let config = match config::load(&sources) {
        Err(ConfigErrors::NotFound { .. }) => config::without_file(&sources),
        loaded => loaded,
    };
    config.map_err(refused)
}

/// The daemon's socket, as the configuration names it; only its path has to be right.
///
/// # Errors
/// A configuration in which not even that can be read.
pub fn socket(context: &Context) -> Result<std::path::PathBuf, Failure> {
    match load_or_defaults(context) {
        Ok(config) => Ok(config.control.socket),
        Err(refused) => match (config::socket_despite(&sources(context)?), refused) {
            (Some(socket), _) => Ok(socket),
            (None, Failure::Settings { errors, exit, .. }) => {
                let help = "they name the daemon's socket; --socket PATH does without them".to_owned();
                Err(Failure::Settings { errors, exit, help: Some(help) })
            }
            (None, other) => Err(other),
        },
    }
}

/// Where the configuration is read from.
///
/// # Errors
/// The current folder is gone.
pub fn sources(context: &Context) -> Result<Sources, Failure> {
    let sources = Sources::from_process(context.globals.config.clone());
    sources.map_err(|error| anyhow::anyhow!("cannot tell the current folder: {error}").into())
}

fn refused(errors: ConfigErrors) -> Failure {
    Failure::Settings { errors, exit: Exit::No, help: None }
}

fn document(settings: &[&Setting]) -> wire::EffectiveConfig {
    let value = |setting: &&Setting| wire::ConfigValue {
        key: setting.key.clone(),
        value: setting.shown().into_owned().into(),
        source: setting.source.to_string(),
    };
    wire::EffectiveConfig {
        schema_version: wire::SchemaVersion::default(),
        config: settings.iter().map(value).collect(),
    }
}

fn render(settings: &[&Setting], look: &Look) -> String {
    if settings.is_empty() {
        return "Every key has its default.\n".to_owned();
    }
    let mut grid = Grid::new(&["KEY", "VALUE", "SOURCE"], &[]);
    for setting in settings {
        let tone = if setting.source == Origin::Default { Tone::Faint } else { Tone::Plain };
        grid.row(vec![
            Cell::plain(&setting.key),
            Cell::new(Tone::Strong, &setting.shown()),
            Cell::new(tone, &setting.source.to_string()),
        ]);
    }
    grid.render(look)
}

#[cfg(test)]
mod tests {
    use super::super::look::Paint;
    use super::super::look::tests::{HOSTILE, look};
    use super::*;

    fn settings() -> [Setting; 3] {
        let setting = |key: &str, value: &str, source| Setting {
            key: key.to_owned(),
            value: value.to_owned(),
            source,
            place: config::Place::Embedded,
        };
        [
            setting("timezone", "Africa/Johannesburg", Origin::File { path: "lucid.yaml".into(), line: 3 }),
            setting("scheduler.tick", "5s", Origin::Default),
            setting("control.group", HOSTILE, Origin::Env { name: "LUCID_CONTROL__GROUP".to_owned() }),
        ]
    }

    #[test]
    fn each_value_with_its_source() {
        let settings = settings();
        insta::assert_snapshot!(render(&settings.iter().collect::<Vec<_>>(), &look(Paint::Plain)));
        assert_eq!(render(&[], &look(Paint::Plain)), "Every key has its default.\n");
    }

    #[test]
    fn the_document_is_the_contracts() {
        let settings = settings();
        let json = serde_json::to_value(document(&settings.iter().take(1).collect::<Vec<_>>())).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"schema_version": 1, "config": [
                {"key": "timezone", "value": "Africa/Johannesburg", "source": "lucid.yaml:3"}
            ]})
        );
    }
}
