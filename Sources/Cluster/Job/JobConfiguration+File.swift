import Foundation
import Topology
import Yams

extension JobConfiguration {
    /// Reads a job file, fills in defaults, makes its paths absolute, and checks it all.
    ///
    /// Relative paths begin at the file's folder.
    ///
    /// - Throws: `ClusterError.badInput` with the file and what is wrong in it.
    public init(contentsOf path: String) throws(ClusterError) {
        let file = URL(filePath: path)
        let text: String
        do throws(InputError) {
            text = try InputFile.text(of: path)
        } catch {
            throw .badInput("\(path): \(error)")
        }
        try self.init(yaml: text, path: path)
        switch work {
        case .serve(var serving):
            serving.model = Self.absolute(serving.model, beside: file)
            while serving.model.count > 1, serving.model.hasSuffix("/") {
                serving.model.removeLast()
            }
            for path in Self.pathsOfAPI {
                serving.api.change(path[...]) { Self.absolute($0, beside: file) }
            }
            if !serving.prefixFolder.isEmpty {
                serving.prefixFolder = Self.absolute(serving.prefixFolder, beside: file)
            }
            if !serving.weightFolder.isEmpty {
                serving.weightFolder = Self.absolute(serving.weightFolder, beside: file)
            }
            work = .serve(serving)
        case .train(var training):
            training.file = Self.absolute(training.file, beside: file)
            work = .train(training)
        }
        if !lab.isEmpty { lab = Self.absolute(lab, beside: file) }
        if !tokenFile.isEmpty { tokenFile = Self.absolute(tokenFile, beside: file) }
    }

    /// Settings of the API that are paths.
    private static let pathsOfAPI = [
        ["keyFile"], ["batchFolder"], ["accessLog", "file"], ["tls", "certificate"],
        ["tls", "key"],
    ]

    private static func absolute(_ path: String, beside file: URL) -> String {
        URL(filePath: path, relativeTo: file.absoluteURL.deletingLastPathComponent())
            .standardizedFileURL.path(percentEncoded: false)
    }

    /// Reads the text of a job file; `path` is only for messages.
    public init(yaml: String, path: String) throws(ClusterError) {
        self = try JobFile(yaml: yaml, path: path).configuration(path: path)
    }

    /// The whole configuration as YAML, as it is kept beside a job's logs.
    public func yaml() throws(ClusterError) -> String {
        do {
            return try YAMLEncoder().encode(JobFile(self))
        } catch {
            throw .badInput("the job \(name) cannot be written as YAML: \(error)")
        }
    }
}
