import Foundation
import Topology
import Yams

/// The file that names API keys, one a line as `NAME: KEY`, or with their limits:
///
///     alice: a-long-secret-of-alice
///     bob: {key: a-long-secret-of-bob, requestsPerMinute: 60, tokensPerMinute: 20000}
///     operator: {key: a-long-secret-of-ours, admin: true}
///     prometheus: {key: a-long-secret-of-monitoring, metrics: true}
///
/// No message holds what stands in the file, names included: whoever writes a line the wrong way
/// round has a key in place of a name.
enum KeyFile {
    /// Each key is a label of the metrics, and each request is compared with all.
    static let mostKeys = 1000
    /// Characters of a key: too many to be guessed, and few enough for a header.
    static let keyLengths = 16 ... 512
    /// A rate that no cluster reaches.
    static let mostPerMinute = 1_000_000_000

    /// Hexadecimal digits that make a name look like a key, as `openssl rand` writes one.
    private static let mostHexadecimal = 32

    private static let fields = [
        "key", "admin", "metrics", "requestsPerMinute", "tokensPerMinute", "textsAtOnce",
    ]

    /// Why a file is refused; its name comes first in a sentence.
    private struct Fault: Error {
        let fact: String
    }

    /// Reads the keys.
    ///
    /// - Throws: `ServingError.configuration` with the file, the line and the fact, never a key.
    static func read(_ path: String) throws(ServingError) -> [APIKey] {
        do {
            try InputFile.checkIsPrivate(
                path, environment: ProcessInfo.processInfo.environment)
        } catch {
            throw .configuration(message: "keyFile \(path) \(error)")
        }
        do {
            return try keys(of: InputFile.text(of: path))
        } catch let error as Fault {
            throw .configuration(message: "keyFile \(path) \(error.fact)")
        } catch let error as InputError {
            throw .configuration(message: "keyFile \(path): \(error)")
        } catch {
            throw .configuration(message: "keyFile \(path) \(describe(error))")
        }
    }

    /// What Yams says of a text, without the text.
    private static func describe(_ error: any Error) -> String {
        switch error as? YamlError {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            "is no YAML: line \(mark.line): \(problem)"
        case .duplicatedKeysInMapping: "names a key twice"
        default: "is no YAML"
        }
    }

    private static func keys(of yaml: String) throws -> [APIKey] {
        guard case .mapping(let entries)? = try InputFile.compose(yaml) else {
            throw Fault(fact: "is not a list of lines NAME: KEY")
        }
        guard entries.count > 0 else { throw Fault(fact: "has no key") }
        guard entries.count <= mostKeys else {
            throw Fault(fact: "has \(entries.count) keys: the limit is \(mostKeys)")
        }
        var keys: [APIKey] = []
        for (name, value) in entries {
            let place = "line \(name.mark?.line ?? 0)"
            guard let name = name.scalar?.string, isName(name) else {
                throw Fault(
                    fact: "\(place): a name has 1 to 64 letters, digits or ._@- and begins with a "
                        + "letter or digit; \(mostHexadecimal) or more hexadecimal digits are a "
                        + "key, which stands behind the name")
            }
            let key = try key(named: name, value, place)
            if keys.contains(where: { $0.hasSecret(of: key) }) {
                throw Fault(fact: "\(place) has the key of an earlier line")
            }
            keys.append(key)
        }
        return keys
    }

    private static func key(named name: String, _ value: Node, _ place: String) throws -> APIKey {
        if let secret = value.scalar?.string { return try key(name, secret, place) }
        guard case .mapping(let members) = value else {
            throw Fault(fact: "\(place) has neither a key nor a mapping")
        }
        var values: [String: String] = [:]
        for (member, value) in members {
            let field = member.scalar?.string ?? ""
            guard fields.contains(field), let text = value.scalar?.string else {
                throw Fault(
                    fact: "line \(member.mark?.line ?? 0): a key has one of "
                        + fields.joined(separator: ", ") + ", each with one value")
            }
            values[field] = text
        }
        guard let secret = values["key"] else { throw Fault(fact: "\(place) has no key") }
        var key = try key(name, secret, place)
        func flag(_ field: String) throws -> Bool {
            let word = values[field] ?? "false"
            guard ["true", "false"].contains(word) else {
                throw Fault(fact: "\(place): \(field) is neither true nor false")
            }
            return word == "true"
        }
        key.isAdmin = try flag("admin")
        key.readsMetrics = try flag("metrics")
        func limit(_ field: String) throws -> Int? {
            guard let text = values[field] else { return nil }
            guard let number = Int(text), (1 ... mostPerMinute).contains(number) else {
                throw Fault(fact: "\(place): \(field) is not 1 to \(mostPerMinute)")
            }
            return number
        }
        key.limits = APIKey.Limits(
            requestsPerMinute: try limit("requestsPerMinute"),
            tokensPerMinute: try limit("tokensPerMinute"), textsAtOnce: try limit("textsAtOnce"))
        return key
    }

    private static func key(_ name: String, _ secret: String, _ place: String) throws -> APIKey {
        guard keyLengths.contains(secret.utf8.count), APIKey.isSecret(secret) else {
            throw Fault(
                fact: "\(place): its key does not have \(keyLengths.lowerBound) to "
                    + "\(keyLengths.upperBound) visible ASCII characters without a space "
                    + "(openssl rand -hex 32 makes one)")
        }
        return APIKey(name: name, secret: secret)
    }

    private static func isName(_ text: String) -> Bool {
        let isKey = text.utf8.count >= mostHexadecimal && text.allSatisfy(\.isHexDigit)
        return !isKey && text.wholeMatch(of: /[A-Za-z0-9][A-Za-z0-9._@-]{0,63}/) != nil
    }
}
