//! `hub claim add | list | revoke`: codes with which a device gets its token. And `hub audit`: who may connect, and who tried.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use hyper::Method;
use protocol::{DeviceId, Timestamp};
use serde_json::json;
use store::{AuditFilter, AuditRow, StoreError, Writer};

use super::remote::{block_on, time};
use super::{BadUsage, Remote, device, print};
use crate::claims::{ClaimInfo, Code, LIFETIME_DEFAULT, Wanted};
use crate::clock;
use crate::limits::Limits;

#[derive(Debug, Subcommand)]
pub(super) enum ClaimCommand {
    /// Make a code for a device and print it: it is shown only now
    Add {
        /// Id of the device
        id: DeviceId,
        /// Hours that it is good for, at most 720 unless the hub is set up otherwise
        #[arg(long, value_name = "HOURS", default_value_t = LIFETIME_DEFAULT.as_secs() / 3_600, value_parser = clap::value_parser!(u64).range(1..))]
        hours: u64,
        #[command(flatten)]
        remote: Remote,
    },
    /// List codes by number, used and expired ones too; never the codes themselves
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Take a code back that was not used
    Revoke {
        /// Its number in the list
        key: i64,
        #[command(flatten)]
        remote: Remote,
    },
}

/// What of the audit trail is printed.
#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// Only what was refused
    #[arg(long)]
    refused: bool,
    /// Only actions that begin so: `token`, `claim`, `sign_in`, `request`
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Only what this one did: the label of a token
    #[arg(long, value_name = "LABEL")]
    by: Option<String>,
    /// At most so many, the newest
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn run(command: ClaimCommand) -> anyhow::Result<ExitCode> {
    match command {
        ClaimCommand::Add { id, hours, remote } => add(id, hours, &remote),
        ClaimCommand::List { json, remote } => list(json, &remote),
        ClaimCommand::Revoke { key, remote } => revoke(key, &remote),
    }
}

fn add(device: DeviceId, hours: u64, remote: &Remote) -> anyhow::Result<ExitCode> {
    let wanted = Wanted { device, seconds: Some(hours.saturating_mul(3_600)) };
    let code = Code::draw()?;
    let body = json!(wanted);
    let request = device::administer(Method::POST, "/v1/claims", Some(&body), remote);
    let code = match block_on(request)? {
        Some(answer) => {
            let code = answer.get("code").and_then(serde_json::Value::as_str);
            code.context("the hub's answer has no code")?.to_owned()
        }
        None => {
            let claim = wanted.check(&code, clock::now(), &Limits::default());
            let claim = claim.map_err(|unfit| BadUsage(unfit.to_string()))?;
            let mut writer = Writer::open(&device::database(remote)?)?;
            writer.add_claim(&claim, &device::by_hand())?;
            writer.checkpoint()?;
            code.reveal()
        }
    };
    print::line(&code);
    Ok(ExitCode::SUCCESS)
}

fn list(json: bool, remote: &Remote) -> anyhow::Result<ExitCode> {
    let claims = device::whole_list(
        "claims",
        remote,
        |claim: &ClaimInfo| claim.key,
        |reader| Ok(reader.claims(None, usize::MAX)?.into_iter().map(ClaimInfo::from).collect()),
    )?;
    if !json
        && !print::line(&format!("{:>5} {:<24} {:<25} {:<10} BY", "KEY", "DEVICE", "GOOD UNTIL", "STATE"))
    {
        return Ok(ExitCode::SUCCESS);
    }
    let now = clock::now();
    for claim in claims {
        let state = match claim.used_at {
            Some(_) => "used",
            None if claim.expires_at <= now => "expired",
            None => "open",
        };
        let line = if json {
            serde_json::to_string(&claim)?
        } else {
            let until = time(claim.expires_at);
            format!(
                "{:>5} {:<24} {until:<25} {state:<10} {}",
                claim.key,
                claim.device.as_str(),
                claim.created_by
            )
        };
        if !print::line(&line) {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn revoke(key: i64, remote: &Remote) -> anyhow::Result<ExitCode> {
    let path = format!("/v1/claims/{key}");
    let request = device::administer(Method::DELETE, &path, None, remote);
    let claim: ClaimInfo = match block_on(request)? {
        Some(answer) => serde_json::from_value(answer).context("the hub's answer is not a claim")?,
        None => {
            let mut writer = Writer::open(&device::database(remote)?)?;
            let claim = match writer.end_claim(key, &device::by_hand(), clock::now()) {
                Err(StoreError::NotFound(_)) => bail!("no claim {key}"),
                claim => claim?,
            };
            writer.checkpoint()?;
            claim.into()
        }
    };
    let word = if claim.used_at.is_some() { "was used before" } else { "is good for nothing any more" };
    print::line(&format!("claim {} for {} {word}", claim.key, claim.device));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn audit(args: &AuditArgs) -> anyhow::Result<ExitCode> {
    let mut query = vec![format!("limit={}", args.limit)];
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    query.extend(args.refused.then(|| "refused=true".to_owned()));
    query.extend(args.action.as_deref().map(|action| format!("action={}", encoded(action))));
    query.extend(args.by.as_deref().map(|by| format!("by={}", encoded(by))));
    let path = format!("/v1/audit?{}", query.join("&"));
    let request = device::administer(Method::GET, &path, None, &args.remote);
    let mut rows: Vec<AuditRow> = match block_on(request)? {
        Some(answer) => serde_json::from_value(answer.get("audit").cloned().unwrap_or_default())
            .context("the hub's answer is not an audit trail")?,
        None => {
            let filter = AuditFilter {
                action: args.action.clone(),
                by: args.by.clone(),
                refused: args.refused,
                ..AuditFilter::default()
            };
            device::open_database(&args.remote)?.audit(&filter, args.limit as usize)?
        }
    };
    if rows.is_empty() {
        print::error("nothing in the audit trail matches");
    }
    // The newest last, where the eye is.
    rows.reverse();
    for row in rows {
        let line = if args.json { serde_json::to_string(&row)? } else { line_of(&row) };
        if !print::line(&line) {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn line_of(row: &AuditRow) -> String {
    let AuditRow { at: Timestamp(at), action, outcome, by, subject, count, .. } = row;
    let from = row.address.as_deref().map_or_else(String::new, |address| format!(" from {address}"));
    let times = if *count > 1 { format!(" ({count} times)") } else { String::new() };
    let why = row.detail.as_deref().map_or_else(String::new, |detail| format!(": {detail}"));
    format!("{} {outcome:<7} {action:<13} {by}{from}: {subject}{why}{times}", time(Timestamp(*at)))
}
