//! `hub token add | list | revoke`: through the hub if it runs, else straight on its database.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use hyper::Method;
use protocol::DeviceId;
use serde_json::json;
use store::{CredentialKey, StoreError, Writer};

use super::remote::{block_on, time};
use super::{BadUsage, Remote, device, print};
use crate::limits::Limits;
use crate::tokens::{NewToken, TokenInfo};
use crate::{auth, clock};

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token and print it: it is shown only now
    Add {
        /// For whom: device, fleet (any device), viewer (looks), operator (also sends commands) or admin (also says who may connect)
        #[arg(long)]
        role: String,
        /// The device, where the role is device
        #[arg(long, value_name = "ID")]
        device: Option<DeviceId>,
        /// Who holds it, for the list of tokens and the audit trail [default for a device: its id]
        #[arg(long)]
        label: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// List tokens, revoked ones too; never the secrets
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Take a token back: it opens nothing any more, and what it has open is closed
    Revoke {
        /// Its number in the list
        key: i64,
        #[command(flatten)]
        remote: Remote,
    },
}

pub(super) fn run(command: TokenCommand) -> anyhow::Result<ExitCode> {
    match command {
        TokenCommand::Add { role, device, label, remote } => add(NewToken { role, device, label }, &remote),
        TokenCommand::List { json, remote } => list(json, &remote),
        TokenCommand::Revoke { key, remote } => revoke(key, &remote),
    }
}

fn add(new: NewToken, remote: &Remote) -> anyhow::Result<ExitCode> {
    let (role, label) = new.clone().check(&Limits::default()).map_err(BadUsage)?;
    let body = json!(new);
    let token = match block_on(device::administer(Method::POST, "/v1/tokens", Some(&body), remote))? {
        Some(answer) => {
            let token = answer.get("token").and_then(serde_json::Value::as_str);
            token.context("the hub's answer has no token")?.to_owned()
        }
        None => {
            let mut writer = Writer::open(&device::database(remote)?)?;
            let (_, token) = auth::add_token(&mut writer, role, label, &device::by_hand(), clock::now())?;
            writer.checkpoint()?;
            token.reveal().to_owned()
        }
    };
    print::line(&token);
    Ok(ExitCode::SUCCESS)
}

fn list(json: bool, remote: &Remote) -> anyhow::Result<ExitCode> {
    let tokens = device::whole_list(
        "tokens",
        remote,
        |token: &TokenInfo| token.key,
        |reader| Ok(reader.credentials(None, usize::MAX)?.into_iter().map(TokenInfo::from).collect()),
    )?;
    if !json && !print::line(&format!("{:>5} {:<9} {:<27} {:<27} LABEL", "KEY", "ROLE", "MADE", "REVOKED")) {
        return Ok(ExitCode::SUCCESS);
    }
    for token in tokens {
        let line = if json {
            serde_json::to_string(&token)?
        } else {
            let revoked = token.revoked_at.map_or_else(|| "-".to_owned(), time);
            let made = time(token.created_at);
            format!("{:>5} {:<9} {made:<27} {revoked:<27} {}", token.key, token.role, token.label)
        };
        if !print::line(&line) {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn revoke(key: i64, remote: &Remote) -> anyhow::Result<ExitCode> {
    let path = format!("/v1/tokens/{key}");
    let token: TokenInfo = match block_on(device::administer(Method::DELETE, &path, None, remote))? {
        Some(answer) => serde_json::from_value(answer).context("the hub's answer is not a token")?,
        None => {
            let mut writer = Writer::open(&device::database(remote)?)?;
            let credential =
                match writer.revoke_credential(CredentialKey(key), &device::by_hand(), clock::now()) {
                    Err(StoreError::NotFound(_)) => bail!("no token {key}"),
                    credential => credential?,
                };
            writer.checkpoint()?;
            credential.into()
        }
    };
    let since = token.revoked_at.map(|at| format!(", since {}", time(at))).unwrap_or_default();
    print::line(&format!("{} {} ({}) opens nothing any more{since}", token.key, token.label, token.role));
    Ok(ExitCode::SUCCESS)
}
