//! Runs of tasks that need a slot or an agent: they wait for both within `claim_wait`, and then go the same
//! way as any run, with the same keeper.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::launch::{EVENTS_MAX_BYTES, Told, told};
use super::table::{self, Place, Worker};
use super::{Dispatch, DispatchError, dialect, lock};
use crate::config;
use crate::model::branch;
use crate::model::ids::RunId;
use crate::model::run::Run;
use crate::model::task::{Kind, Task};
use crate::model::worker::{Dialect, Standing};
use crate::platform::process::spec::Stdout;
use crate::pool::{ClaimError, Holder, Leased};
use crate::run::command::{self, Program};
use crate::run::supervise::{Prepared, random_token};
use crate::store::Tx;

/// Wait between two tries to get a slot or a profile.
const TRY_EVERY: Duration = Duration::from_millis(500);
/// Longest wait where neither task nor pool says one.
const WAIT_DEFAULT: Duration = Duration::from_secs(30);

/// Why a run does not start.
enum Refused {
    /// Nothing was free in time.
    Skip(&'static str),
    Block(String),
}

impl From<DispatchError> for Refused {
    fn from(error: DispatchError) -> Self {
        Self::Block(error.to_string())
    }
}

impl Dispatch {
    /// Whether a task's runs go this way.
    #[must_use]
    pub fn is_for(task: &Task) -> bool {
        task.settings.pool.is_some() || matches!(task.kind, Kind::Agent(_))
    }

    /// Starts a claimed run of such a task, and sees it through.
    pub async fn launch_task(&self, run: Run, task: Arc<Task>) {
        let placing = Placing::new(self, run.id);
        match self.ready_task(&run, &task).await {
            Ok((prepared, worker)) => {
                let attendance = worker.as_ref().map(|worker| self.attendance(worker));
                if let (Some(worker), Some(attendance)) = (worker, &attendance) {
                    self.attend(worker, Vec::new(), Arc::clone(attendance));
                }
                drop(placing);
                self.runs.launch_prepared(run, Some(task), prepared).await;
                if let Some(attendance) = attendance {
                    attendance.over.cancel();
                }
            }
            Err(refused) => {
                drop(placing);
                match refused {
                    Refused::Skip(reason) => self.runs.pass_up(run, reason).await,
                    Refused::Block(why) => self.runs.block(run, &why).await,
                }
            }
        }
        // A slot that is still leased for the run is given back by the next pass.
        self.wake.notify_one();
    }

    async fn ready_task(&self, run: &Run, task: &Task) -> Result<(Prepared, Option<Worker>), Refused> {
        let deadline = self.clock.boot() + self.patience(task);
        let profile = match &task.kind {
            Kind::Agent(agent) => Some(self.wait_for_profile(run.id, &agent.profile, deadline).await?),
            Kind::Command(_) | Kind::Action(_) => None,
        };
        let leased = match &task.settings.pool {
            Some(pool) => Some(self.desk(run, task, pool, deadline).await?),
            None => None,
        };
        let mut prepared = self.build_task(run, task, profile.as_ref()).await?;
        if let Some((leased, branch)) = &leased {
            prepared.spec.cwd.clone_from(&leased.path);
            prepared.spec.env.push(("LUCID_SLOT".to_owned(), leased.slot.clone()));
            let branch = branch.iter().map(|branch| ("LUCID_BRANCH".to_owned(), branch.clone()));
            prepared.spec.env.extend(branch);
        }
        let place = leased.zip(task.settings.pool.clone()).map(|((leased, branch), pool)| Place {
            pool,
            lease: leased.lease,
            slot: leased.slot,
            branch,
            base_commit: leased.base_commit,
        });
        let worker = match profile {
            Some(profile) => Some(self.write_worker(run, &profile, place).await?),
            None => None,
        };
        Ok((prepared, worker))
    }

    /// A slot from the base that the task wants, on the branch that it wants: under the next free name where there is
    /// a branch of that name, which is an earlier run's work.
    async fn desk(
        &self,
        run: &Run,
        task: &Task,
        pool: &str,
        deadline: Duration,
    ) -> Result<(Leased, Option<String>), Refused> {
        let wanted = &task.settings.worktree;
        let leased = self.wait_for_slot(run, pool, wanted.base.as_deref(), deadline).await?;
        let Some(template) = &wanted.branch else { return Ok((leased, None)) };
        let name = branch::fill(template, run.id)
            .map_err(|e| Refused::Block(format!("worktree.branch cannot be `{template}`: {e}")))?;
        let name = self.pools.free_branch(leased.lease, &name).await.map_err(DispatchError::from)?;
        self.pools.branch(leased.lease, &name).await.map_err(DispatchError::from)?;
        Ok((leased, Some(name)))
    }

    fn patience(&self, task: &Task) -> Duration {
        let of_pool = task.settings.pool.as_ref().and_then(|pool| self.claim_waits.get(pool).copied());
        task.settings.worktree.claim_wait.or(of_pool).unwrap_or(WAIT_DEFAULT)
    }

    /// A place of the wanted profile, or of the fallback that stands in for it; the run has it for as long as it is
    /// being placed.
    async fn wait_for_profile(
        &self,
        run: RunId,
        wanted: &str,
        deadline: Duration,
    ) -> Result<config::Agent, Refused> {
        let first = self
            .profile(wanted)
            .ok_or_else(|| Refused::Block(format!("there is no agent profile `{wanted}`")))?;
        loop {
            let why = match self.promise(run, first).await? {
                Ok(profile) => return Ok(profile),
                Err(why) => why,
            };
            if self.clock.boot() >= deadline {
                return Err(Refused::Skip(why));
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
    }

    async fn promise(
        &self,
        run: RunId,
        first: &config::Agent,
    ) -> Result<Result<config::Agent, &'static str>, DispatchError> {
        let _turn = self.state.turn.lock().await;
        let profiles = self.profiles(self.clock.wall_ms()).await?;
        let chain = std::iter::once(&first.name).chain(&first.fallback);
        let mut known = chain.filter_map(|name| Some((self.profile(name)?, profiles.get(name)?)));
        let Some((warm, now)) = known.find(|(_, profile)| profile.standing == Standing::Ready) else {
            return Ok(Err("agent_rests"));
        };
        if now.busy >= now.max_parallel {
            return Ok(Err("agent_busy"));
        }
        lock(&self.state.placing).insert(run, Some(warm.name.clone()));
        Ok(Ok(warm.clone()))
    }

    async fn wait_for_slot(
        &self,
        run: &Run,
        pool: &str,
        base: Option<&str>,
        deadline: Duration,
    ) -> Result<Leased, Refused> {
        loop {
            let budget = deadline.saturating_sub(self.clock.boot()).max(TRY_EVERY);
            match self.pools.claim_at(Holder::Run(run.id), pool, base, budget).await {
                Ok(leased) => return Ok(leased),
                Err(ClaimError::PoolFull { .. } | ClaimError::Quarantined { .. }) => {}
                // Of an earlier start of the same row whose gate never opened.
                Err(ClaimError::AlreadyLeased { lease, .. }) => self.release(lease).await,
                Err(
                    e @ (ClaimError::NoSuchPool(_)
                    | ClaimError::TimedOut { .. }
                    | ClaimError::Git { .. }
                    | ClaimError::Pool(_)),
                ) => {
                    warn!(run = run.id.0, error = %e, "could not lease a slot");
                    return Err(Refused::Block(e.to_string()));
                }
            }
            if self.clock.boot() >= deadline {
                return Err(Refused::Skip("pool_full"));
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
    }

    async fn build_task(
        &self,
        run: &Run,
        task: &Task,
        profile: Option<&config::Agent>,
    ) -> Result<Prepared, Refused> {
        let token = random_token().map_err(|e| Refused::Block(e.to_string()))?;
        let program = profile.map(|profile| self.program(task, profile));
        let (site, task, run, of_run) = (self.runs.site.clone(), task.clone(), run.clone(), token.clone());
        let extra = profile.map(|profile| profile.env.clone()).unwrap_or_default();
        let secrets = profile.map(|profile| profile.secrets.clone()).unwrap_or_default();
        let built = tokio::task::spawn_blocking(move || {
            let mut task = task;
            Arc::make_mut(&mut task.settings).secrets.extend(secrets);
            let mut input = Vec::new();
            let (mut spec, private) = match program {
                Some((program, lines)) => {
                    input = lines;
                    command::assemble(&site, &task, &run, &of_run, program)?
                }
                None => command::build(&site, &task, &run, &of_run)?,
            };
            // What the task says wins over its profile.
            let own: Vec<String> = spec.env.iter().map(|(name, _)| name.clone()).collect();
            spec.env.extend(extra.into_iter().filter(|(name, _)| !own.contains(name)));
            Ok::<_, command::Blocked>((spec, private, input))
        });
        match built.await {
            Ok(Ok((spec, private, input))) => Ok(Prepared { spec, private, token, input }),
            Ok(Err(why)) => Err(Refused::Block(why.to_string())),
            Err(e) => Err(Refused::Block(e.to_string())),
        }
    }

    fn program(&self, task: &Task, profile: &config::Agent) -> (Program, Vec<String>) {
        let asked = match &task.kind {
            Kind::Agent(agent) => Some(agent),
            Kind::Command(_) | Kind::Action(_) => None,
        };
        let wishes = dialect::Wishes {
            model: asked.and_then(|agent| agent.model.clone()).or_else(|| profile.model.clone()),
            resume: None,
            max_turns: asked.and_then(|agent| agent.max_turns),
            budget_usd: asked.and_then(|agent| agent.budget_usd.clone()),
            tools: asked.map(|agent| agent.tools.clone()).unwrap_or_default(),
        };
        let Told { stdin, input } = told(profile.dialect, &task.body);
        let stdout = match profile.dialect {
            Dialect::Plain => Stdout::Log,
            Dialect::Claude | Dialect::Codex => Stdout::Lines { max_bytes: EVENTS_MAX_BYTES },
        };
        (Program { argv: self.argv(profile, &wishes), stdin, stdout }, input)
    }

    async fn write_worker(
        &self,
        run: &Run,
        profile: &config::Agent,
        place: Option<Place>,
    ) -> Result<Worker, DispatchError> {
        let worker = Worker {
            run: run.id,
            fence: run.fence,
            task: run.task.to_string(),
            ticket: None,
            agent: profile.name.clone(),
            dialect: profile.dialect,
            attempt: run.attempt,
            place,
            read_bytes: 0,
            heard: super::classify::Heard::default(),
            started_ms: self.clock.wall_ms(),
        };
        let row = worker.clone();
        let write = move |tx: &Tx<'_>| {
            table::make_way(tx, row.run)?;
            Ok::<_, DispatchError>(table::insert(tx, &row)?)
        };
        self.store.write(write).await?;
        Ok(worker)
    }
}

/// A run that is being placed: nobody sweeps its slot, and the profile that it has been promised is counted for it,
/// until this is dropped.
struct Placing<'a> {
    dispatch: &'a Dispatch,
    run: RunId,
}

impl<'a> Placing<'a> {
    fn new(dispatch: &'a Dispatch, run: RunId) -> Self {
        lock(&dispatch.state.placing).insert(run, None);
        Self { dispatch, run }
    }
}

impl Drop for Placing<'_> {
    fn drop(&mut self) {
        lock(&self.dispatch.state.placing).remove(&self.run);
    }
}
