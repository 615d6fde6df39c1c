import Models
import Pipeline
import Yams

extension TrainingJob {
    /// Words what the decoder found as the other errors of a job file are worded: which key, what
    /// it is, what it must be.
    ///
    /// - Parameter written: The keys of the file as they are.
    static func worded(
        _ error: DecodingError, _ written: Node.Mapping, path: String
    ) -> TrainingError {
        let (context, needed): (DecodingError.Context, String) =
            switch error {
            case .keyNotFound(let key, let context): (context, "\(key.stringValue) is missing")
            case .typeMismatch(let type, let context): (context, name(of: type))
            case .valueNotFound(let type, let context): (context, name(of: type))
            case .dataCorrupted(let context): (context, choices(context.codingPath.first))
            @unknown default:
                (DecodingError.Context(codingPath: [], debugDescription: "\(error)"), "")
            }
        let keys = context.codingPath.filter { $0.intValue == nil }.map(\.stringValue)
        if case .keyNotFound = error {
            return .job("\(path):", fact: (keys + [needed]).joined(separator: "."))
        }
        guard let first = keys.first, !needed.isEmpty else {
            return .job("\(path):", fact: context.debugDescription)
        }
        let key = keys.joined(separator: ".")
        guard keys.count == 1, let found = written[first] ?? written[oldName(first)] else {
            return .job(key, fact: "must be \(needed)")
        }
        return .job(key, fact: "is \(found.any): it must be \(needed)")
    }

    private static func name(of type: Any.Type) -> String {
        switch type {
        case is any BinaryInteger.Type: "a whole number"
        case is any BinaryFloatingPoint.Type: "a number"
        case is Bool.Type: "true or false"
        case is String.Type: "text"
        default:
            // The library's own: what kind of YAML it wanted there.
            switch "\(type)" {
            case "Scalar": "one value"
            case "Mapping": "a group of keys"
            default: "a list"
            }
        }
    }

    private static func choices(_ key: (any CodingKey)?) -> String {
        switch key?.stringValue {
        case "precision":
            TrainingPrecision.allCases.map(\.rawValue).joined(separator: ", ")
        case "schedule":
            ScheduleKind.allCases.filter { $0 != .forwardOnly }.map(\.rawValue)
                .joined(separator: ", ")
        default: ""
        }
    }
}
