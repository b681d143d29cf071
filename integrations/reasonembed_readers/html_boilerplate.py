"""What of a web page is not its text: what is not shown, and navigation.

Navigation is found by what pages say of themselves: elements, roles, and the class names of the generators of
documentation. trafilatura was measured on 240 pages (docs/guide/files.md): it is slow, and leaves out half of the
headings and of the tables.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

__all__ = ["remove_hidden", "remove_likely_navigation", "remove_navigation"]

_NOT_SHOWN = """
    script, style, template, noscript, iframe, audio, video, canvas, datalist, noembed, noframes,
    dialog:not([open]), [hidden]:not([hidden="until-found"]):not([role="tabpanel"]),
    [style*="display:none" i], [style*="display: none" i],
    [style*="visibility:hidden" i], [style*="visibility: hidden" i]
"""
_DECORATION = '[aria-hidden="true"], svg'
_LONGEST_DECORATION = 200
"""In characters. A page that was saved while a dialog was open has all of its text in one that is aria-hidden."""

_NAVIGATION = """
    nav, [role="navigation"], [role="search"], [role="menubar"], [role="menu"], [role="toolbar"], [role="contentinfo"],
    body > footer, .skip-link, .skip-nav, .version_switcher, .language_switcher,
    /* Sphinx, docutils, MkDocs */
    .sphinxsidebar, .sphinx-tabs-tablist, .prev-next-area, .rst-footer-buttons, .md-source-file, .bd-sidebar-primary,
    .bd-sidebar-secondary,
    /* rustdoc, mdBook */
    rustdoc-topbar, rustdoc-toolbar, rustdoc-search, .sidebar-elems, .rustdoc .rightside, #copy-path,
    .rustdoc a.src, .rustdoc .since, details.toggle > summary.hideme, details.top-doc > summary, #menu-bar,
    #mdbook-menu-bar, #mdbook-help-container, .mobile-nav-chapters,
    /* Javadoc, Doxygen, gtk-doc, DocBook, Texinfo */
    .topNav, .bottomNav, .subNav, .skipNav, #navbar-top, #navbar-bottom, .navPadding, .fixedNav,
    #titlearea, #main-nav, #navrow1, #navrow2, #navrow3, #navrow4, #nav-path, #side-nav, .navpath, address.footer,
    table.navigation, table:has(a[accesskey="n"], a[accesskey="p"]),
    div.navheader, div.navfooter, div.header:has(a[accesskey]), div.nav-panel,
    /* MediaWiki */
    #mw-navigation, #mw-panel, #mw-head, .vector-header-container, .mw-jump-link, .mw-editsection,
    #catlinks, .printfooter, #siteSub, #contentSub, .mw-portlet,
    /* listings of code */
    .linenos, .linenodiv, .lineno, .line-numbers-rows, td.gutter,
    button.copy, .copybtn, .clipboard-copy, .btn-copy, .copy-button,
    /* consent */
    #onetrust-consent-sdk, #onetrust-banner-sdk, #CybotCookiebotDialog, #usercentrics-root, .cc-window, .cookieconsent,
    #cookie-banner, .cookie-banner, #cookie-consent, .cookie-consent, #cookie-notice, .cookie-notice, #cookie-bar,
    .cookie-bar, #cookie-law-info-bar, .gdpr-banner
"""
_PERMALINKS = "h1 a, h2 a, h3 a, h4 a, h5 a, h6 a, dt a, .headerlink, .anchor, .hash-link"
_SIGNS = frozenset("#¶§🔗∞")
_SKIPS = re.compile(r"\s*(?:skip|jump) to\b", re.IGNORECASE)
_FEWEST_CONTENTS = 3

_LIKELY = """
    header:not(main *):not(article *):not(section *) ul,
    aside:not(main *):not(article *), header:not(main *):not(article *):not(section *):not(:has(h1, h2)),
    footer:not(main *):not(article *):not(section *),
    .sidebar, #sidebar, .menu, #menu, .navbar, #navbar, .nav, #nav, .breadcrumb, .breadcrumbs, .pagination, .pager,
    #toc, .toc, .table-of-contents, #TOC, .contents.topic, .localtoc, .topnav, .site-nav, .site-header, #header,
    div.related, .navbox, .noprint, #footer, .footer, .site-footer, .share, .social, .share-buttons, .related-posts
"""
_LINKED = 0.6


def remove_hidden(tree: LexborHTMLParser) -> None:
    """Remove what a browser does not show, and decoration."""
    _remove(tree, _NOT_SHOWN)
    for node in _below_body(tree, _DECORATION):
        if len(node.text()) <= _LONGEST_DECORATION:
            node.decompose()


def remove_navigation(tree: LexborHTMLParser) -> None:
    """Remove what the page says is navigation, and the signs that link to headings."""
    _remove(tree, _NAVIGATION)
    for link in tree.css(_PERMALINKS):
        if link.text(strip=True) in _SIGNS:
            link.decompose()
    for link in tree.css('a[href^="#"]'):
        if _SKIPS.match(link.text()):
            link.decompose()
    for contents in tree.css("ul:not(li > ul), ol:not(li > ol)"):
        if _is_contents(contents):
            contents.decompose()


def remove_likely_navigation(tree: LexborHTMLParser) -> None:
    """Remove what has the names of navigation and is short or mostly links."""
    for node in _below_body(tree, _LIKELY):
        if _mostly_links(node):
            node.decompose()


def _remove(tree: LexborHTMLParser, selector: str) -> None:
    for node in _below_body(tree, selector):
        node.decompose()


def _below_body(tree: LexborHTMLParser, selector: str) -> list[LexborNode]:
    """Return what matches, but not the page itself, which scripts show once they have styled it."""
    return [node for node in tree.css(selector) if node.tag not in {"html", "body"}]


def _is_contents(node: LexborNode) -> bool:
    """Tell whether a list is the table of contents of its own page, whose headings say the same."""
    links = node.css("a")
    if len(links) < _FEWEST_CONTENTS or not _mostly_links(node):
        return False
    return all((link.attributes.get("href") or "").startswith("#") for link in links)


def _mostly_links(node: LexborNode) -> bool:
    length = len("".join(node.text().split()))
    linked = sum(len("".join(link.text().split())) for link in node.css("a, button"))
    return linked >= _LINKED * length
