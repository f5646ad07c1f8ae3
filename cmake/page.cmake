# The chat page, embedded: the files of src/server/page and, as far as they are found, the libraries that the page uses as the distribution
# packages them (docs/third-party.md). Every file becomes one C array; page_assets.inc lists them for page.c.
# SP_PAGE_LIBRARIES=OFF leaves the libraries out: text then stays plain.
option(SP_PAGE_LIBRARIES "Embed marked, DOMPurify, KaTeX and highlight.js into the chat page" ON)
find_program(SP_GZIP gzip)
mark_as_advanced(SP_GZIP)

set(SP_PAGE_DIR ${CMAKE_BINARY_DIR}/generated/page)
set(SP_PAGE_LIST "")    # rows of page_assets.inc
set(SP_PAGE_SCRIPTS "") # lines of index.html that load libraries
set(SP_PAGE_FOUND "")

# sp_page_asset(file path type packing): packing is gzip for what is large; such an asset exists in no other form.
macro(sp_page_asset file path type packing)
  string(MAKE_C_IDENTIFIER "sp_page${path}" symbol)
  set(tool "")
  if("${packing}" STREQUAL "gzip")
    set(tool "${SP_GZIP}")
  endif()
  add_custom_command(OUTPUT ${SP_PAGE_DIR}/${symbol}.c
    COMMAND ${CMAKE_COMMAND} -D FILE=${file} -D OUT=${SP_PAGE_DIR}/${symbol}.c -D SYMBOL=${symbol} -D URL=${path} -D TYPE=${type}
      -D GZIP=${tool} -P ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
    DEPENDS ${file} ${CMAKE_SOURCE_DIR}/cmake/embed.cmake COMMENT "Embedding ${path}" VERBATIM)
  target_sources(sputnik_server PRIVATE ${SP_PAGE_DIR}/${symbol}.c)
  string(APPEND SP_PAGE_LIST "ASSET(${symbol}, \"${path}\")\n")
endmacro()

# sp_page_find(VARIABLE FILE...): the first of the files that exists, or nothing.
function(sp_page_find variable)
  set(${variable} "" PARENT_SCOPE)
  if(SP_PAGE_LIBRARIES)
    foreach(file ${ARGN})
      if(EXISTS ${file})
        get_filename_component(file ${file} REALPATH)
        set(${variable} ${file} PARENT_SCOPE)
        break()
      endif()
    endforeach()
  endif()
endfunction()

macro(sp_page_script name)
  sp_page_find(sp_page_file ${ARGN})
  if(sp_page_file)
    sp_page_asset(${sp_page_file} /assets/lib/${name}.js text/javascript gzip)
    string(APPEND SP_PAGE_SCRIPTS "<script defer src=\"assets/lib/${name}.js\"></script>\n")
    list(APPEND SP_PAGE_FOUND ${name})
  endif()
endmacro()

set(SP_JS /usr/share/javascript)
set(SP_NODE /usr/share/nodejs)
sp_page_script(purify ${SP_NODE}/dompurify/dist/purify.min.js ${SP_JS}/dompurify/purify.min.js)
sp_page_script(marked ${SP_NODE}/marked/lib/marked.umd.min.js ${SP_NODE}/marked/marked.min.js ${SP_JS}/marked/marked.min.js)
sp_page_script(highlight ${SP_JS}/highlight.js/highlight.min.js ${SP_NODE}/highlight.js/build/highlight.min.js)
# KaTeX is of use with its style and fonts only.
sp_page_find(SP_PAGE_KATEX_CSS ${SP_JS}/katex/katex.min.css ${SP_NODE}/katex/dist/katex.min.css)
file(GLOB SP_PAGE_FONTS /usr/share/fonts/truetype/katex/KaTeX_*.woff2)
if(SP_PAGE_KATEX_CSS AND SP_PAGE_FONTS)
  sp_page_script(katex ${SP_JS}/katex/katex.min.js ${SP_NODE}/katex/dist/katex.min.js)
  sp_page_asset(${SP_PAGE_KATEX_CSS} /assets/lib/katex.css text/css gzip)
  string(APPEND SP_PAGE_SCRIPTS "<link rel=\"stylesheet\" href=\"assets/lib/katex.css\">\n")
  foreach(font ${SP_PAGE_FONTS})
    get_filename_component(name ${font} NAME)
    sp_page_asset(${font} /assets/lib/fonts/${name} font/woff2 plain)
  endforeach()
endif()

set(SP_PAGE_LIBRARY_LINES "${SP_PAGE_SCRIPTS}")
configure_file(src/server/page/index.html.in ${SP_PAGE_DIR}/index.html @ONLY)
sp_page_asset(${SP_PAGE_DIR}/index.html / text/html plain)
file(GLOB SP_PAGE_FILES CONFIGURE_DEPENDS src/server/page/*.js src/server/page/*.css src/server/page/*.svg)
foreach(file ${SP_PAGE_FILES})
  get_filename_component(name ${file} NAME)
  set(type text/javascript)
  if(name MATCHES "\\.css$")
    set(type text/css)
  elseif(name MATCHES "\\.svg$")
    set(type image/svg+xml)
  endif()
  sp_page_asset(${file} /assets/${name} ${type} plain)
endforeach()

file(CONFIGURE OUTPUT ${SP_PAGE_DIR}/page_assets.inc CONTENT "${SP_PAGE_LIST}" @ONLY)
target_include_directories(sputnik_server PRIVATE ${SP_PAGE_DIR})
list(JOIN SP_PAGE_FOUND ", " SP_PAGE_FOUND)
if(NOT SP_PAGE_FOUND)
  set(SP_PAGE_FOUND "none, text stays plain")
endif()
message(STATUS "chat page with: ${SP_PAGE_FOUND}")
