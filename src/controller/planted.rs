//! Known mistakes that the simulator must catch: each breaks one rule, only where a test asks for it.

/// One broken rule. Never set outside the tests; the list is that of protocol.md, and our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Planted {
    /// S2: commits without waiting for the leases granted to the old holder.
    NoWaitForLeases,
    /// L2, E2: votes although a promise still binds.
    NoPromise,
    /// E4: a new controller reassigns at once.
    NoWaitAfterWinning,
    /// L5: a lease counts from the receipt of the grant.
    LeaseFromReceipt,
    /// S1: acknowledges a proposal without storing it.
    AcknowledgeWithoutStoring,
    /// S: proposals are ordered by version alone.
    OrderByVersionAlone,
    /// F1: one unanswered probe at the end suffices, whatever was heard before.
    LookNotLatched,
    /// H2: the old holder goes on beyond `until`.
    HandoverWithoutUntil,
    /// H4: an abort gives the service back without waiting for the new holder.
    AbortWithoutWaiting,
    /// L6: the aliases stay when the lease ends.
    KeepWithoutLease,
    /// E3: an uncommitted membership counts alone, without the one that it was proposed to follow. One storm in thirty
    /// thousand sees it, a unit test always.
    BaseForgotten,
    /// L4: grants go on to a holder whose services are being reassigned.
    GrantWhileRevoking,
    /// Q2: half or fewer go on without an arbiter's answer.
    MinorityWithoutArbiter,
    /// Q2: half or fewer take an address after an ordinary look.
    MinorityLooksShortly,
    /// Q1: half is enough.
    HalfIsAQuorum,
    /// S1: commits without an acknowledgement but its own.
    CommitAlone,
    /// E3: what the voters have stored is not asked for.
    VotersStatesForgotten,
    /// L4: grants go on when the root has ended, and beyond it.
    GrantBeyondRoot,
    /// L6, L8: no margin for clocks and lateness.
    NoMargin,
    /// H1: nobody looks who else has the address beside the old holder.
    MovesBlindly,
    /// M1: who sees another holder's ARP says nothing to it.
    RivalsAreSilent,
    /// Q2: what was asked while the arbiter was silent counts. One drill in two thousand sees it, a unit test always.
    LookCountsCutOff,
    /// Q2: under `arbiter` an answer to a question from before the cut counts against who is on its other side.
    AnswerFromBeforeTheCut,
    /// F1: a goodbye makes the look short, whether its sender ever had the address or not. A unit test sees it.
    QuickWithoutProof,
    /// F1: an answer between the order to take an address and the word that it is up changes nothing.
    LateAnswersIgnored,
    /// F1: takes without a look.
    TakeWithoutLook,
    /// E4: nobody tells a candidate that the promise to the old controller was given back. No drill sees it, a unit test
    /// does.
    ReleaseUntold,
    /// S3: acts on what is proposed, not on what is committed.
    ActOnProposal,
    /// E2, E4, L3: only its own newest times count, whatever is in force elsewhere.
    OwnTimesAlone,
    /// P2: who has no external link keeps what it is named for.
    KeepsWhatItCannotServe,
    /// S1: stores and acknowledges proposals of older terms than it voted for. One storm in thousands sees it, a unit test
    /// always.
    AcknowledgeWhatIsOutvoted,
    /// L7: who does not know the newest state is granted leases all the same.
    GrantToWhoIsBehind,
}
