//! What can be written on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Packs, checks and deploys bundles of stonescriptdb, calls their functions, and shows the state of tenants.
///
/// Exit codes: 0 done; 1 the bundle, the deployment or the call failed, or there is drift; 2 wrong usage; 3 the server cannot be reached
/// or is not able now; 4 refused because data would be lost; 5 not allowed: a token is missing or wrong.
#[derive(Parser, Debug)]
#[command(name = "stonescriptdb", version, disable_help_subcommand = true, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What goes for every command.
#[derive(Args, Debug)]
pub(crate) struct Global {
    /// Where the server is
    #[arg(long, global = true, env = "SSDB_URL", default_value = "http://127.0.0.1:9000")]
    pub(crate) url: String,
    /// A token of the platform; better in the environment than here, where other users of the machine can read it
    #[arg(long, global = true, env = "SSDB_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// The admin token, which is taken for everything if there is no other
    #[arg(long, global = true, env = "SSDB_ADMIN_TOKEN", hide_env_values = true)]
    pub(crate) admin_token: Option<String>,
    /// Certificates (PEM) of authorities to be trusted, in place of the well-known ones
    #[arg(long, global = true, env = "SSDB_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Writes JSON to standard output, errors too
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Packs a folder into postgresql.tar.gz; the same files give the same bytes
    Pack(Pack),
    /// Says what is wrong with a bundle: without a server what can be seen in its files, with --server also what a dry run finds
    Lint(Lint),
    /// Shows the statements that a deployment would run, and changes nothing
    Plan(Plan),
    /// Creates a tenant's database if it is not there, and brings it to the bundle's state
    Register(Register),
    /// Brings all databases of a platform, or a tenant's, to the bundle's state
    Migrate(Migrate),
    /// Follows a deployment to its end
    Watch(Watch),
    /// Calls a function
    Call(Call),
    /// Lists tenants with state, size, bundle and drift
    Tenants(OfPlatform),
    /// Says how databases differ from their bundles; looks into every one of them
    Drift(Drift),
    /// Lists deployments; of one, its databases; or what was done, statement by statement
    Logs(Logs),
    /// Writes a shell's completions to standard output; the Debian package has those of bash, zsh and fish
    Completions(Completions),
    /// Writes the manual pages, one for each command, into a folder; the Debian package has them
    Man(Man),
}

#[derive(Args, Debug)]
pub(crate) struct Pack {
    /// The folder that holds postgresql/, or the folders of the kinds
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,
    /// The archive to be written; - is standard output
    #[arg(short, long, default_value = "postgresql.tar.gz", value_name = "FILE")]
    pub(crate) output: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct Lint {
    /// A folder or an archive
    #[arg(default_value = ".")]
    pub(crate) bundle: PathBuf,
    /// Asks the server for a dry run too
    #[arg(long)]
    pub(crate) server: bool,
    #[command(flatten)]
    pub(crate) of: OfTenant,
    /// Warnings are failures
    #[arg(long)]
    pub(crate) deny_warnings: bool,
}

#[derive(Args, Debug)]
pub(crate) struct OfPlatform {
    /// The platform
    #[arg(short, long, env = "SSDB_PLATFORM")]
    pub(crate) platform: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct OfTenant {
    /// The platform; a bundle's stonescript.json may name it
    #[arg(short, long, env = "SSDB_PLATFORM")]
    pub(crate) platform: Option<String>,
    /// The tenant
    #[arg(short, long)]
    pub(crate) tenant: Option<String>,
}

/// What data may be lost, and what else is for deployments of all kinds.
#[derive(Args, Debug)]
pub(crate) struct Allowed {
    /// Kinds of changes to be allowed that lose data, with commas: drop_column, drop_table, modify_column_type, …
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    pub(crate) allow: Vec<String>,
    /// Allows every change
    #[arg(long)]
    pub(crate) force: bool,
    /// Compares everything, even where the record says that nothing has changed
    #[arg(long)]
    pub(crate) verify: bool,
    /// What to do about rows of seeders that are missing
    #[arg(long, value_name = "WHAT")]
    pub(crate) seeders: Option<Seeders>,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
#[value(rename_all = "snake_case")]
pub(crate) enum Seeders {
    Check,
    InsertMissing,
}

#[derive(Args, Debug)]
pub(crate) struct Plan {
    /// A folder or an archive
    #[arg(default_value = ".")]
    pub(crate) bundle: PathBuf,
    #[command(flatten)]
    pub(crate) of: OfTenant,
    #[command(flatten)]
    pub(crate) allowed: Allowed,
}

#[derive(Args, Debug)]
pub(crate) struct Register {
    /// A folder or an archive
    #[arg(default_value = ".")]
    pub(crate) bundle: PathBuf,
    #[command(flatten)]
    pub(crate) of: OfTenant,
    #[command(flatten)]
    pub(crate) allowed: Allowed,
    /// The fingerprint of the only plan that may run
    #[arg(long, value_name = "FINGERPRINT")]
    pub(crate) plan: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Migrate {
    /// A folder or an archive
    #[arg(default_value = ".")]
    pub(crate) bundle: PathBuf,
    #[command(flatten)]
    pub(crate) of: OfTenant,
    #[command(flatten)]
    pub(crate) allowed: Allowed,
    /// The fingerprint of the only plan that may run
    #[arg(long, value_name = "FINGERPRINT")]
    pub(crate) plan: Option<String>,
    /// Tenants that go first, with commas
    #[arg(long, value_delimiter = ',', value_name = "TENANT")]
    pub(crate) canary: Vec<String>,
    /// So many databases at a time
    #[arg(long, value_name = "NUMBER")]
    pub(crate) parallel: Option<u32>,
    /// How often what fails for a passing reason is tried again
    #[arg(long, value_name = "NUMBER")]
    pub(crate) retries: Option<u32>,
    /// Goes on with the other databases when one fails
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Shows how far it is; it goes on by itself if this command is ended
    #[arg(short, long)]
    pub(crate) watch: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Watch {
    /// The deployment's id
    pub(crate) deployment: String,
}

#[derive(Args, Debug)]
pub(crate) struct Call {
    /// The function
    pub(crate) function: String,
    /// Arguments in order: JSON, or a text where it is none
    #[arg(conflicts_with_all = ["named", "params"], allow_negative_numbers = true)]
    pub(crate) arguments: Vec<String>,
    /// An argument by the parameter's name; may be repeated
    #[arg(short, long, value_name = "NAME=VALUE", conflicts_with = "params")]
    pub(crate) named: Vec<String>,
    /// All arguments as one JSON array or object
    #[arg(long, value_name = "JSON")]
    pub(crate) params: Option<String>,
    #[command(flatten)]
    pub(crate) of: OfTenant,
    /// Writes each row as a line of JSON as soon as it is there
    #[arg(long, conflicts_with = "retry")]
    pub(crate) lines: bool,
    /// Is tried again after a serialization failure or a deadlock
    #[arg(long)]
    pub(crate) retry: bool,
    /// The time that it may take
    #[arg(long, value_name = "MILLISECONDS")]
    pub(crate) timeout: Option<u32>,
}

#[derive(Args, Debug)]
pub(crate) struct Drift {
    #[command(flatten)]
    pub(crate) of: OfTenant,
    /// The stored schema
    #[arg(long)]
    pub(crate) schema: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Logs {
    /// One deployment, by its id
    #[arg(conflicts_with_all = ["statements", "limit", "tenant"])]
    pub(crate) deployment: Option<String>,
    #[command(flatten)]
    pub(crate) of: OfTenant,
    /// What was done, statement by statement: of a platform, or of one tenant
    #[arg(short, long)]
    pub(crate) statements: bool,
    /// Of so many deployments, the newest first
    #[arg(short = 'n', long, value_name = "NUMBER")]
    pub(crate) limit: Option<u32>,
}

#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Args, Debug)]
pub(crate) struct Man {
    /// The folder, which must be there
    pub(crate) folder: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn arguments_of_calls_may_look_like_numbers_below_zero() {
        let cli = Cli::try_parse_from(["stonescriptdb", "call", "f", "-1", "{}", "-p", "shop"]).unwrap();
        let Command::Call(call) = cli.command else { panic!("{cli:?}") };
        assert_eq!(
            (call.arguments.as_slice(), call.of.platform.as_deref()),
            (&["-1".to_owned(), "{}".to_owned()][..], Some("shop"))
        );
    }
}
