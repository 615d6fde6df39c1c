import Encoding
import Foundation
import HTTPTypes
import HummingbirdCore
import NIOCore

/// A file of the page that people open in a browser: it is part of the program.
///
/// The files hold no secret, so they need no key. What the page shows, it asks of the API with
/// the key that its reader gives.
struct PageFile: Sendable {
    private let type: String
    private let body: ByteBuffer
    /// Differs when the bytes do, so that a browser keeps a file no longer than it is right.
    private let tag: String

    /// The files by the paths that serve them.
    static let all: [String: PageFile] = [
        "/": PageFile("text/html", PackageResources.index_html),
        "/page.css": PageFile("text/css", PackageResources.page_css),
        "/page.js": PageFile("text/javascript", PackageResources.page_js),
        "/page-chat.js": PageFile("text/javascript", PackageResources.page_chat_js),
        "/page-doctor.js": PageFile("text/javascript", PackageResources.page_doctor_js),
        "/page-draw.js": PageFile("text/javascript", PackageResources.page_draw_js),
        "/page-experts.js": PageFile("text/javascript", PackageResources.page_experts_js),
        "/page-metrics.js": PageFile("text/javascript", PackageResources.page_metrics_js),
        "/page-server.js": PageFile("text/javascript", PackageResources.page_server_js),
        "/page-traffic.js": PageFile("text/javascript", PackageResources.page_traffic_js),
        "/page-views.js": PageFile("text/javascript", PackageResources.page_views_js),
    ]

    /// What a browser may load and ask for the page: files and answers of this server alone.
    private static let policy = [
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'",
        "img-src 'self' data:", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
    ].joined(separator: "; ")

    private init(_ type: String, _ bytes: [UInt8]) {
        self.type = type + "; charset=utf-8"
        body = ByteBuffer(bytes: bytes)
        var fingerprint = Fingerprint()
        fingerprint.add(Data(bytes))
        tag = "\"\(fingerprint.text)\""
    }

    /// The file, or 304 where the browser has it.
    func answer(_ request: Request) -> Response {
        var headers: HTTPFields = [
            .eTag: tag, .cacheControl: "no-cache", .contentSecurityPolicy: Self.policy,
            .xContentTypeOptions: "nosniff",
        ]
        if let name = HTTPField.Name("Referrer-Policy") { headers[name] = "no-referrer" }
        // A proxy that compresses makes the tag a weak one: `W/"..."`.
        if request.headers[.ifNoneMatch]?.contains(tag) == true {
            return Response(status: .notModified, headers: headers)
        }
        headers[.contentType] = type
        return Response(
            status: .ok, headers: headers, body: ResponseBody(byteBuffer: body))
    }
}
