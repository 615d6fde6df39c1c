public import Topology

/// A position in the pipeline, numbered from the one that embeds tokens.
public struct StageID: RawRepresentable, Hashable, Comparable, Codable, Sendable {
    /// The number, counted from 0.
    public let rawValue: Int

    /// Names the stage with this number.
    public init(rawValue: Int) { self.rawValue = rawValue }

    /// Orders stages from the embedding to the loss.
    public static func < (a: StageID, b: StageID) -> Bool { a.rawValue < b.rawValue }
}

/// A slice of the batch in flight in the pipeline.
public struct MicroBatchID: RawRepresentable, Hashable, Comparable, Codable, Sendable {
    /// The number, counted from 0 in the order of entry.
    public let rawValue: Int

    /// Names the micro-batch with this number.
    public init(rawValue: Int) { self.rawValue = rawValue }

    /// Orders micro-batches by number.
    public static func < (a: MicroBatchID, b: MicroBatchID) -> Bool { a.rawValue < b.rawValue }
}

/// One micro-batch on one stage: what a step works on.
public struct Cell: Hashable, Codable, Sendable {
    /// Where in the network.
    public let stage: StageID
    /// Which slice of the batch.
    public let microBatch: MicroBatchID

    /// Pairs a stage with a micro-batch.
    public init(stage: StageID, microBatch: MicroBatchID) {
        self.stage = stage
        self.microBatch = microBatch
    }

    init(_ stage: Int, _ microBatch: Int) {
        self.init(
            stage: StageID(rawValue: stage), microBatch: MicroBatchID(rawValue: microBatch))
    }
}

/// What crosses from one stage to its neighbour.
public struct Transfer: Hashable, Codable, Sendable {
    /// What the bytes are.
    public enum Content: String, Codable, Sendable {
        /// The output of a stage, on its way to the next one.
        case activation
        /// The gradient of a stage's input, on its way to the one before.
        case gradient
    }

    /// Activation or gradient.
    public let content: Content
    /// The cell whose forward or backward made the bytes.
    public let source: Cell
    /// The other end: the receiver in a send, the sender in a receive.
    public let peer: Rank

    /// Describes a crossing as one of its two ends sees it.
    public init(content: Content, source: Cell, peer: Rank) {
        self.content = content
        self.source = source
        self.peer = peer
    }
}

/// One thing a rank does. A schedule is a list of these for each rank, performed in order.
public enum Step: Hashable, Sendable {
    /// Computes the stage's output.
    case forward(Cell)
    /// Computes input and weight gradients at once.
    case backward(Cell)
    /// Computes input gradients only; a `backwardWeight` of the same cell follows later.
    case backwardInput(Cell)
    /// Computes the weight gradients that a `backwardInput` left.
    case backwardWeight(Cell)
    /// Runs a forward and a full backward as one, each computing while the other communicates.
    case overlapped(forward: Cell, backward: Cell)
    /// Starts a transfer; returns at once.
    case send(Transfer)
    /// Waits until a transfer is here.
    case receive(Transfer)

    /// The cell that runs forward in this step.
    var forwardCell: Cell? {
        switch self {
        case .forward(let cell), .overlapped(let cell, _): cell
        default: nil
        }
    }

    /// The cell whose input gradients are made in this step.
    var backwardCell: Cell? {
        switch self {
        case .backward(let cell), .backwardInput(let cell), .overlapped(_, let cell): cell
        default: nil
        }
    }

    /// The cell whose weight gradients are made in this step: from here on its activations are
    /// free.
    public var weightCell: Cell? {
        switch self {
        case .backward(let cell), .backwardWeight(let cell), .overlapped(_, let cell): cell
        default: nil
        }
    }

    /// Whether the step occupies the rank's cores.
    var isCompute: Bool {
        switch self {
        case .send, .receive: false
        default: true
        }
    }
}

extension Step: CustomStringConvertible {
    /// As timelines label it: `F3`, `B3`, `I3` (input only), `W3`, `F7&B2`.
    public var description: String {
        switch self {
        case .forward(let cell): "F\(cell.microBatch.rawValue)"
        case .backward(let cell): "B\(cell.microBatch.rawValue)"
        case .backwardInput(let cell): "I\(cell.microBatch.rawValue)"
        case .backwardWeight(let cell): "W\(cell.microBatch.rawValue)"
        case .overlapped(let forward, let backward):
            "F\(forward.microBatch.rawValue)&B\(backward.microBatch.rawValue)"
        case .send(let transfer):
            "send \(transfer.content.rawValue) \(transfer.source.microBatch.rawValue)"
        case .receive(let transfer):
            "receive \(transfer.content.rawValue) \(transfer.source.microBatch.rawValue)"
        }
    }
}
