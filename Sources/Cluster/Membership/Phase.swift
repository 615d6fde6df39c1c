/// The way of a rank into the job, in order.
public enum Phase: String, Codable, CaseIterable, Comparable, Sendable, CustomStringConvertible {
    /// Not heard of yet, or shaking hands.
    case join
    /// Meeting the other ranks on the data path.
    case connect
    /// Reading its share of the model.
    case load
    /// Running steps whose answers nobody sees.
    case warmUp
    /// Serving.
    case ready
    /// Training, step after step.
    case train

    /// The word tables and messages use.
    public var description: String {
        switch self {
        case .join: "join"
        case .load: "load"
        case .connect: "connect"
        case .warmUp: "warm up"
        case .ready: "ready"
        case .train: "train"
        }
    }

    /// Orders phases as a rank passes through them.
    public static func < (a: Phase, b: Phase) -> Bool { a.order < b.order }

    private var order: Int {
        switch self {
        case .join: 0
        case .connect: 1
        case .load: 2
        case .warmUp: 3
        case .ready: 4
        case .train: 5
        }
    }
}
