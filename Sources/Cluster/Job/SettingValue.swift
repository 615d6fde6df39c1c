import Foundation

/// A value of a setting that this room passes on without knowing it.
public indirect enum SettingValue: Codable, Hashable, Sendable {
    case flag(Bool)
    case integer(Int)
    case number(Double)
    case text(String)
    case list([SettingValue])
    case mapping([String: SettingValue])
}

extension SettingValue {
    /// Reads the narrowest kind that fits.
    public init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if let flag = try? value.decode(Bool.self) {
            self = .flag(flag)
        } else if let integer = try? value.decode(Int.self) {
            self = .integer(integer)
        } else if let number = try? value.decode(Double.self) {
            self = .number(number)
        } else if let list = try? value.decode([Self].self) {
            self = .list(list)
        } else if let mapping = try? value.decode([String: Self].self) {
            self = .mapping(mapping)
        } else {
            self = .text(try value.decode(String.self))
        }
    }

    /// Writes the value alone.
    public func encode(to encoder: any Encoder) throws {
        var value = encoder.singleValueContainer()
        switch self {
        case .flag(let flag): try value.encode(flag)
        case .integer(let integer): try value.encode(integer)
        case .number(let number): try value.encode(number)
        case .text(let text): try value.encode(text)
        case .list(let list): try value.encode(list)
        case .mapping(let mapping): try value.encode(mapping)
        }
    }
}

extension [String: SettingValue] {
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
            let written = try JSONEncoder().encode(merged)
            do { return try JSONDecoder().decode(Settings.self, from: written) } catch {
                guard let error = error as? DecodingError else { throw error }
                let words = JobFile.words(for: error, in: .mapping(merged), of: Settings.self)
                throw ClusterError.badInput("\(section): \(words)")
            }
        } catch let error as ClusterError {
            throw error
        } catch {
            throw .badInput("\(section): \(error)")
        }
    }

    /// Changes a text that is set, by the keys that lead to it; an empty one stays.
    mutating func change(_ path: ArraySlice<String>, _ new: (String) -> String) {
        guard let key = path.first, let value = self[key] else { return }
        switch value {
        case .text(let text) where path.count == 1 && !text.isEmpty: self[key] = .text(new(text))
        case .mapping(var inner) where path.count > 1:
            inner.change(path.dropFirst(), new)
            self[key] = .mapping(inner)
        default: break
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

extension SettingValue {
    /// The first number among these values that a type cannot hold, and where it stands; nil if all
    /// can be held.
    ///
    /// Found by trying: each number with a fraction, or beyond 64 bits, alone among whole ones.
    func refusedNumber<Value: Decodable>(of type: Value.Type) -> (place: String, number: Double)? {
        for place in fractions(at: []) {
            let alone = rounded(but: place[...])
            guard case .number(let number) = self[place[...]],
                let bytes = try? JSONEncoder().encode(alone)
            else { continue }
            do { _ = try JSONDecoder().decode(type, from: bytes) } catch {
                return (JobFile.place(place), number)
            }
        }
        return nil
    }

    private subscript(place: ArraySlice<String>) -> SettingValue? {
        guard let key = place.first else { return self }
        return members.first { $0.key == key }?.value[place.dropFirst()]
    }

    /// What stands in a list, by indices in brackets, or in a mapping.
    private var members: [(key: String, value: SettingValue)] {
        switch self {
        case .list(let values): values.enumerated().map { ("[\($0)]", $1) }
        case .mapping(let values): values.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        case .flag, .integer, .number, .text: []
        }
    }

    private func fractions(at place: [String]) -> [[String]] {
        if case .number = self { return [place] }
        return members.flatMap { $0.value.fractions(at: place + [$0.key]) }
    }

    /// These values with 1 for every number that has a fraction, but for one.
    private func rounded(but place: ArraySlice<String>?) -> SettingValue {
        func inner(_ key: String, _ value: SettingValue) -> SettingValue {
            value.rounded(but: place?.first == key ? place?.dropFirst() : nil)
        }
        switch self {
        case .number: return place == nil ? .integer(1) : self
        case .list(let values):
            return .list(values.enumerated().map { inner("[\($0)]", $1) })
        case .mapping(let values):
            return .mapping(
                Dictionary(uniqueKeysWithValues: values.map { ($0, inner($0, $1)) }))
        case .flag, .integer, .text: return self
        }
    }
}
