"""`app-config.js`: what the viewer reads first, generated so that it always names this archive's own resources."""

import orjson

from dicomweb_archive.web.authentication import SIGN_IN
from dicomweb_archive.wire.roots import VIEWER, AskedRoot, RootKind

_SOURCE = "@ohif/extension-default.dataSourcesModule.dicomweb"

# The build's page does this inline, which its security policy forbids. Modules that the viewer imports by an
# absolute path lie in its own folder.
_BEFORE = """console.time("scriptToView");
window.PUBLIC_URL = {address};
window.browserImportFunction = path => import(path.startsWith("/") ? {address} + path.slice(1) : path);
"""
# A cookie that has expired while the viewer was open: signing in brings a new one, and the same study.
_AFTER = """window.config.httpErrorHandler = error => {{
  if (error.status === 401) {{
    window.location.assign({sign_in} + encodeURIComponent(window.location.pathname + window.location.search));
  }}
}};
"""


_FRIENDLY = {RootKind.PUBLISHED: "Archive", RootKind.COLLECTION: "Collection {}", RootKind.SUBMISSION: "Submission {}"}


def write_configuration(root_path: str, asked: AskedRoot, *, may_store: bool) -> bytes:
    """Return the script that leads the viewer to one root of the archive below `root_path`.

    Args:
        root_path: path of the archive's root, without a slash at the end.
        asked: what the viewer shows, and nothing else.
        may_store: whether to offer the upload dialog.
    """
    address = orjson.dumps(f"{root_path}{VIEWER}/").decode()
    sign_in = orjson.dumps(f"{root_path}{SIGN_IN}?next=").decode()
    described = _configuration(root_path, asked, may_store=may_store)
    configuration = orjson.dumps(described, option=orjson.OPT_INDENT_2).decode()
    script = _BEFORE.format(address=address) + f"window.config = {configuration};\n" + _AFTER.format(sign_in=sign_in)
    return script.encode()


def _configuration(root_path: str, asked: AskedRoot, *, may_store: bool) -> dict[str, object]:
    return {
        "routerBasename": f"{root_path}{asked.parent}{VIEWER}/",
        "extensions": [],
        "modes": [],
        "showStudyList": True,
        "maxNumberOfWebWorkers": 3,
        "showWarningMessageForCrossOrigin": False,
        "showCPUFallbackMessage": True,
        "strictZSpacingForVolumeViewport": True,
        "groupEnabledModesFirst": True,
        "investigationalUseDialog": {"option": "never"},
        "maxNumRequests": {"interaction": 100, "thumbnail": 5, "prefetch": 25},
        "defaultDataSourceName": "archive",
        "dataSources": [
            {
                "namespace": _SOURCE,
                "sourceName": "archive",
                "configuration": _source(root_path, asked, may_store=may_store),
            }
        ],
    }


def _source(root_path: str, asked: AskedRoot, *, may_store: bool) -> dict[str, object]:
    root = f"{root_path}{asked.path}"
    return {
        "friendlyName": _FRIENDLY[asked.kind].format(asked.name),
        "name": "archive",
        # Without a host: the origin is the viewer's own, and so the cookie goes with every request.
        "qidoRoot": root,
        "wadoRoot": root,
        "imageRendering": "wadors",
        # A small picture for each series in place of a whole frame: 12 series of 512 x 512 are 0.1 MB, not 6 MB. All
        # frames of a CT of 150 slices had come in 0.61 to 0.94 of the time that it took with `wadors` (three pairs on
        # a busy machine); for 12 series the times told nothing.
        "thumbnailRendering": "thumbnail",
        "thumbnailRequestStrategy": "fetch",
        "enableStudyLazyLoad": True,
        "supportsFuzzyMatching": True,
        "supportsWildcard": True,
        "dicomUploadEnabled": may_store,
        "singlepart": "bulkdata,video",
        "bulkDataURI": {"enabled": True, "relativeResolution": "studies"},
        # A frame as the whole payload: of a part the viewer's script looks at every byte to find its end. From the
        # first image to the last of a CT of 150 slices it took 0.58 to 1.11 of the time with parts (seven pairs on a
        # busy machine, median 0.71). No quotes: a viewer of another origin would have to ask first for these.
        "acceptHeader": ["application/octet-stream; transfer-syntax=*"],
    }
