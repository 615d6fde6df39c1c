public import Topology

/// A prompt that a prefill rank computes for a decode rank.
struct PrefillOrder: Codable, Hashable, Sendable {
    /// The request; its prompt is the tokens whose entries are wanted.
    var request: GenerationRequest
    /// Which attempt it is: pieces of another one are dropped.
    var attempt: UInt64
    /// Positions before this one are at the decode rank already.
    var start: Int
    /// The number of the link to the decode rank.
    var link: UInt64
}

/// A link that two ranks make.
public struct LinkOrder: Codable, Hashable, Sendable {
    /// Names the link; no two have one number.
    var number: UInt64
    /// The prefill rank, then the decode rank, as the job numbers them.
    public var members: [Rank]
    /// The place of the rank that gets this order among them.
    var place: Int

    var peer: Rank { members[1 - place] }
}

/// What ranks that are about to be linked tell each other.
struct LinkBlob: Codable, Hashable, Sendable {
    var number: UInt64
    var label: String
    var bytes: [UInt8]
}

/// What a router tells a rank about prompts that are computed elsewhere.
enum HandoverCommand: Codable, Hashable, Sendable {
    /// Compute a prompt, and hand its entries over.
    case prefill(PrefillOrder)
    /// Compute the prompt of a request yourself: no prefill rank does.
    case compute(RequestID)
    /// Meet another rank.
    case link(LinkOrder)
    /// Another rank said this of a link.
    case blob(LinkBlob)
    /// A link is no longer used.
    case unlink(UInt64)
}

/// What a rank tells a router.
enum HandoverReport: Codable, Hashable, Sendable {
    /// A decode rank has room for a prompt, and wants its entries from a position on.
    case granted(RequestID, start: Int)
    /// A prefill rank sent everything.
    case sent(RequestID, attempt: UInt64)
    /// An attempt failed on either side; it may be repeated.
    case failed(RequestID, attempt: UInt64, reason: String)
    /// A decode rank has all entries of a prompt.
    case arrived(RequestID)
    /// A decode rank waits no longer for a prompt, and computes it itself if it needs it.
    case abandoned(RequestID)
    /// For the other rank of a link.
    case blob(LinkBlob)
    /// This rank's end of a link is there.
    case linked(UInt64)
    /// A link ended, or was not made.
    case unlinked(UInt64, reason: String)
}

/// What other threads tell an engine about hand-overs.
enum HandoverEvent: Sendable {
    case prefill(PrefillOrder)
    case compute(RequestID)
    /// All entries of a prompt are in its blocks.
    case arrived(RequestID, cachedTokens: Int)
    /// All entries of a prompt have left its blocks.
    case sent(RequestID, attempt: UInt64)
    /// Its entries cannot be sent.
    case notSent(RequestID, attempt: UInt64, reason: String)
}

/// What a rank has handed over and been handed since it started.
struct HandoverTotals: Codable, Hashable, Sendable {
    /// Prompts whose entries were sent.
    var promptsSent: UInt64 = 0
    /// Bytes of their entries.
    var bytesSent: UInt64 = 0
    /// Prompts whose entries arrived.
    var promptsReceived: UInt64 = 0
    /// From when room was granted for a prompt until all had arrived, in seconds, prompts together.
    var seconds = 0.0
    /// Hand-overs that failed or came too late, on this rank.
    var failures: UInt64 = 0
    /// Links to ranks of the other role.
    var links = 0
}
