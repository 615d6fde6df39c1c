import Foundation
import Yams

extension JobConfiguration {
    /// Reads a job file, fills in defaults, makes the model's path absolute, and checks it all.
    ///
    /// - Throws: `ClusterError.badInput` with the file and what is wrong in it.
    public init(contentsOf path: String) throws(ClusterError) {
        let file = URL(filePath: path)
        let text: String
        do {
            let bytes = try Data(contentsOf: file)
            guard bytes.count <= Self.largestFileBytes else {
                throw ClusterError.badInput(
                    "\(path): \(bytes.count) bytes: a job has at most \(Self.largestFileBytes)")
            }
            text = String(decoding: bytes, as: UTF8.self)
        } catch let error as ClusterError {
            throw error
        } catch {
            throw .badInput("\(path): \(error.localizedDescription)")
        }
        try self.init(yaml: text, path: path)
        model = Self.absolute(model, beside: file)
        while model.count > 1, model.hasSuffix("/") { model.removeLast() }
        if !lab.isEmpty { lab = Self.absolute(lab, beside: file) }
    }

    private static func absolute(_ path: String, beside file: URL) -> String {
        URL(filePath: path, relativeTo: file.absoluteURL.deletingLastPathComponent())
            .standardizedFileURL.path(percentEncoded: false)
    }

    /// Reads the text of a job file; `path` is only for messages.
    public init(yaml: String, path: String) throws(ClusterError) {
        do {
            let written = try Yams.load(yaml: yaml)
            guard let written = written as? [String: Any] else {
                throw ClusterError.badInput("\(path): the file is not a mapping of keys to values")
            }
            self = try Self.overlaid(JobConfiguration(), with: written, path: path)
        } catch let error as ClusterError {
            throw error
        } catch {
            throw .badInput(
                "\(path): \("\(error)".split(separator: "\n").joined(separator: " "))")
        }
        try validate(path: path)
    }

    /// The whole configuration as YAML, as it is kept beside a job's logs.
    public func yaml() throws(ClusterError) -> String {
        do {
            return try YAMLEncoder().encode(self)
        } catch {
            throw .badInput("the job \(name) cannot be written as YAML: \(error)")
        }
    }

    /// A fingerprint of what all ranks must agree on: all but where this node keeps its files, and
    /// where the coordinator listens.
    public func digest() throws(ClusterError) -> String {
        var common = self
        common.model = ""
        common.lab = ""
        common.control = JobConfiguration().control
        common.http = JobConfiguration().http
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = .sortedKeys
            var fingerprint = Fingerprint()
            fingerprint.add(try encoder.encode(common))
            return fingerprint.text
        } catch {
            throw .badInput("the job \(name) cannot be encoded: \(error)")
        }
    }

    static let largestFileBytes = 1 << 20

    /// Settings whose keys belong to other rooms.
    private static let open: Set<String> = ["engine", "api", "training"]

    /// Puts what was written over the defaults, and refuses a key that is no field.
    private static func overlaid(
        _ defaults: JobConfiguration, with written: [String: Any], path: String
    ) throws -> JobConfiguration {
        let bytes = try JSONEncoder().encode(defaults)
        guard let tree = try JSONSerialization.jsonObject(with: bytes) as? [String: Any] else {
            return defaults
        }
        let merged = try merge(tree, written, at: "", path: path)
        guard JSONSerialization.isValidJSONObject(merged) else {
            throw ClusterError.badInput(
                "\(path): a value is neither text, number, flag, list nor mapping")
        }
        let result = try JSONSerialization.data(withJSONObject: merged)
        do {
            return try JSONDecoder().decode(JobConfiguration.self, from: result)
        } catch let error as DecodingError {
            throw ClusterError.badInput("\(path): \(words(for: error))")
        }
    }

    private static func merge(
        _ defaults: [String: Any], _ written: [String: Any], at place: String, path: String
    ) throws -> [String: Any] {
        var merged = defaults
        for key in written.keys.sorted() {
            let isOpen = open.contains(String(place.dropLast()))
            guard isOpen || defaults[key] != nil else {
                let known = defaults.keys.sorted().joined(separator: ", ")
                throw ClusterError.badInput(
                    "\(path): unknown key \"\(place)\(key)\"; known: \(known)")
            }
            if let inner = defaults[key] as? [String: Any] {
                guard let values = written[key] as? [String: Any] else {
                    throw ClusterError.badInput("\(path): \(place)\(key) is not a mapping")
                }
                merged[key] = try merge(inner, values, at: "\(place)\(key).", path: path)
            } else {
                merged[key] = written[key]
            }
        }
        return merged
    }

    static func words(for error: DecodingError) -> String {
        func place(_ context: DecodingError.Context) -> String {
            context.codingPath.map(\.stringValue).joined(separator: ".")
        }
        switch error {
        case .typeMismatch(let type, let context): return "\(place(context)) is not a \(type)"
        case .valueNotFound(let type, let context):
            return "\(place(context)) is empty: a \(type) is expected"
        case .keyNotFound(let key, let context):
            return "\(place(context)).\(key.stringValue) is missing"
        case .dataCorrupted(let context):
            return "\(place(context)): \(context.debugDescription)"
        @unknown default: return "\(error)"
        }
    }
}

extension [String: JobConfiguration.Setting] {
    /// Puts these settings over the defaults of another room's configuration.
    ///
    /// - Parameter section: The job file's section they come from, for messages.
    /// - Throws: `ClusterError.badInput` for a key the configuration does not have, or a value of
    ///   another kind.
    public func applied<Settings: Codable>(
        to defaults: Settings, section: String
    ) throws(ClusterError) -> Settings {
        do {
            let bytes = try JSONEncoder().encode(defaults)
            let tree = try JSONDecoder().decode(Self.self, from: bytes)
            let merged = try merged(over: tree, at: section)
            return try JSONDecoder().decode(Settings.self, from: JSONEncoder().encode(merged))
        } catch let error as ClusterError {
            throw error
        } catch let error as DecodingError {
            throw .badInput("\(section): \(JobConfiguration.words(for: error))")
        } catch {
            throw .badInput("\(section): \(error)")
        }
    }

    private func merged(over defaults: Self, at place: String) throws(ClusterError) -> Self {
        var result = defaults
        for key in keys.sorted() {
            guard let standing = defaults[key] else {
                let known = defaults.keys.sorted().joined(separator: ", ")
                throw .badInput("unknown key \"\(place).\(key)\"; known: \(known)")
            }
            if case .mapping(let inner) = standing, case .mapping(let written) = self[key] {
                result[key] = .mapping(try written.merged(over: inner, at: "\(place).\(key)"))
            } else {
                result[key] = self[key]
            }
        }
        return result
    }
}
